// q5_K: 176 bytes for 256 weights in eight sub-blocks of 32, w = q · (scale · s) - minimum · m.
//
//   [scale, minimum, s and m as in q4_K: 16 bytes][32 bytes: bit j of byte l is the high bit of
//   weight l of sub-block j][128 bytes of nibbles as in q4_K]

static INLINE void unpack_q5_K(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 0, lane);
  join_high_bits(packed, 4 + 5 * index, block->weights);
  set_six_bit_scales(packed, index, block);
}

DEFINE_MATMUL(q5_K, CPU_Q5_K, 5, 0, true, false)
