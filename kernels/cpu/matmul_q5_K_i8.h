// q5_K: 176 bytes for 256 weights in eight sub-blocks of 32, w = q · (scale · s) - minimum · m.
//
//   [scale, minimum, s and m as in q4_K: 16 bytes][32 bytes: bit j of byte l is the high bit of
//   weight l of sub-block j][128 bytes of nibbles as in q4_K]
//
// Packed: the 4 words of the header; for each 32 columns a word of high bits and 4 of nibbles.

static INLINE void deal_q5_K(const uint8_t *turned, uint8_t *packed) {
  for (int lane = 0; lane < TILE_ROWS; lane += TILE) {
    const uint8_t *from = turned + 4 * lane;
    uint8_t *to = packed + 4 * lane;
    for (int j = 0; j < 4; j++) put_word(to, j, word_at(from, j));
    for (int sub = 0; sub < 8; sub++) {
      put_word(to, 4 + 5 * sub, gather_bits(from + 64 * 4, sub));
      deal_nibbles(from + 64 * (12 + 8 * (sub / 2)), sub % 2 * 4, to + 64 * (5 + 5 * sub));
    }
  }
}

DEFINE_DEALT_LAYOUT(q5_K, 0, 0, 44, 0)

static INLINE void unpack_q5_K(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 0, lane);
  join_high_bits(packed, 4 + 5 * index, block->weights);
  set_six_bit_scales(packed, index, block);
}

static INLINE void dequantise_q5_K(const uint8_t *block, float *values) {
  dequantise_six_bit(block, true, values);
}

DEFINE_MATMUL(q5_K, 5, 0, true, false)
