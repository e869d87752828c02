// q2_K: 84 bytes for 256 weights, w = q · (scale · s) - minimum · m, one s and one m for 16 weights.
//
//   [16 bytes: s low, m high][64 bytes of pairs][scale f16][minimum f16]
//
// There are two parts of 128 weights; weight 32g + l of a part (g < 4, l < 32) is in bits 2g of its
// byte l.
//
// Packed: a word of scale and minimum, 4 of s and m; for each 32 columns 2 words of pairs.

static INLINE void deal_q2_K(const uint8_t *turned, uint8_t *packed) {
  for (int lane = 0; lane < TILE_ROWS; lane += TILE) {
    const uint8_t *from = turned + 4 * lane;
    uint8_t *to = packed + 4 * lane;
    put_word(to, 0, word_at(from, 20));
    for (int j = 0; j < 4; j++) put_word(to, 1 + j, word_at(from, j));
    for (int sub = 0; sub < 8; sub++) {
      deal_pairs(from + 64 * (4 + 8 * (sub / 4)), sub % 4 * 2, to + 64 * (5 + 2 * sub));
    }
  }
}

DEFINE_DEALT_LAYOUT(q2_K, 0, 0, 21, 0)

static INLINE void unpack_q2_K(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 0, lane);
  split_pairs(packed, 5 + 2 * index, block->weights);
  tile_u32 scales = packed_word(packed, 1 + index / 2) >> (index % 2 * 16);
  block->half_scales[0] = (tile_i32)(scales & 255u);
  block->half_scales[1] = (tile_i32)((scales >> 8) & 255u);
  block->scale = (tile_f32)packed_word(packed, 0);
}

static INLINE void dequantise_q2_K(const uint8_t *block, float *values) {
  float scale = half_value(block + 80);
  float minimum = half_value(block + 82);
  for (int i = 0; i < 256; i++) {
    float step = scale * (float)(block[i / 16] & 15);
    float offset = minimum * (float)(block[i / 16] >> 4);
    values[i] = (float)pair_at(block + 16, i) * step - offset;
  }
}

DEFINE_MATMUL(q2_K, 2, 0, true, true)
