// q3_K: 110 bytes for 256 weights, w = (q - 4) · scale · (s - 32), one s for 16 weights.
//
//   [32 bytes: bit j of byte l is the high bit of weight 32j + l][64 bytes of pairs as in q2_K]
//   [12 bytes: sixteen 6-bit s][scale f16]
//
// Of the 12 bytes b: b[i] has the low four bits of s i (low) and s i + 8 (high), for i < 8; b[8 + i] the
// upper two of s i, i + 4, i + 8 and i + 12, from the lowest bits up, for i < 4.

// Scales 4 · index ..< 4 · index + 4, a byte each.
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

DEFINE_MATMUL(q3_K, CPU_Q3_K, 3, 4, false, true)
