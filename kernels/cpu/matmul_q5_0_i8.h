// q5_0: 22 bytes for 32 weights, w = (q - 16) · scale.
//
//   [scale f16][32 bits: bit i is weight i's high bit][16 bytes: nibbles as in q4_0]

// 32 weights from a word of high bits, the first, and the four words of nibbles behind it.
static INLINE void join_high_bits(packed_block packed, int first, tile_u32 weights[8]) {
  tile_u32 nibbles[4];
  tile_u32 high = packed_word(packed, first);
  packed_words(packed, first + 1, 4, nibbles);
  split_nibbles(nibbles, weights);
  for (int j = 0; j < 8; j++) weights[j] |= spread_bits(high, j);
}

static INLINE void unpack_q5_0(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 1, lane);
  join_high_bits(packed, 0, block->weights);
  block->scale = packed_half(packed, 0);
}

DEFINE_MATMUL(q5_0, CPU_Q5_0, 5, 16, false, false)
