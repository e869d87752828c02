// q3_K: 110 bytes for 256 weights, w = (q - 4) · scale · (s - 32), one s for 16 weights.
//
//   [32 bytes: bit j of byte l is the high bit of weight 32j + l][64 bytes of pairs as in q2_K]
//   [12 bytes: sixteen 6-bit s][scale f16]
//
// Of the 12 bytes b: b[i] has the low four bits of s i (low) and s i + 8 (high), for i < 8; b[8 + i] the
// upper two of s i, i + 4, i + 8 and i + 12, from the lowest bits up, for i < 4.
//
// Packed: 3 words of s; for each 32 columns a word of high bits and 2 of pairs.

static INLINE void deal_q3_K(const uint8_t *turned, uint8_t *packed) {
  for (int lane = 0; lane < TILE_ROWS; lane += TILE) {
    const uint8_t *from = turned + 4 * lane;
    uint8_t *to = packed + 4 * lane;
    for (int j = 0; j < 3; j++) put_word(to, j, word_at(from, 24 + j));
    for (int sub = 0; sub < 8; sub++) {
      put_word(to, 3 + 3 * sub, gather_bits(from, sub));
      deal_pairs(from + 64 * (8 + 8 * (sub / 4)), sub % 4 * 2, to + 64 * (4 + 3 * sub));
    }
  }
}

DEFINE_DEALT_LAYOUT(q3_K, 1, 108, 27, 0)

// Returns scales 4 · index ..< 4 · index + 4, one in each byte.
static INLINE tile_u32 four_scales(packed_block packed, int index) {
  tile_u32 low = (packed_word(packed, index % 2) >> (index / 2 * 4)) & 0x0F0F0F0Fu;
  tile_u32 high = (packed_word(packed, 2) >> (2 * index)) & 0x03030303u;
  return low | high << 4;
}

static INLINE void unpack_q3_K(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 1, lane);
  tile_u32 high = packed_word(packed, 3 + 3 * index);
  split_pairs(packed, 4 + 3 * index, block->weights);
  for (int j = 0; j < 8; j++) block->weights[j] |= spread_bits(high, j) >> 2;
  tile_u32 scales = four_scales(packed, index / 2) >> (index % 2 * 16);
  block->half_scales[0] = (tile_i32)(scales & 255u) - 32;
  block->half_scales[1] = (tile_i32)((scales >> 8) & 255u) - 32;
  block->scale = packed_half(packed, 0);
}

static INLINE void dequantise_q3_K(const uint8_t *block, float *values) {
  float scale = half_value(block + 108);
  for (int i = 0; i < 256; i++) {
    int sub = i / 16;
    int low = sub < 8 ? block[96 + sub] & 15 : block[96 + sub % 8] >> 4;
    int s = low | (block[104 + sub % 4] >> (sub / 4 * 2) & 3) << 4;
    int quant = pair_at(block + 32, i) | (block[i % 32] >> (i / 32) & 1) << 2;
    float step = scale * (float)(s - 32);
    values[i] = step * (float)(quant - 4);
  }
}

DEFINE_MATMUL(q3_K, 3, 4, false, true)
