// q5_1: 24 bytes for 32 weights, w = q · scale + minimum.
//
//   [scale f16][minimum f16][32 bits: bit i is weight i's high bit][16 bytes: nibbles as in q4_0]

DEFINE_LAYOUT(q5_1, 2, 0, 5, 4)

static INLINE void unpack_q5_1(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 2, lane);
  join_high_bits(packed, 0, block->weights);
  block->scale = packed_half(packed, 0);
  block->minimum = packed_half(packed, 1);
}

static INLINE void dequantise_q5_1(const uint8_t *block, float *values) {
  dequantise_nibbles(block, true, true, values);
}

DEFINE_MATMUL(q5_1, 5, 0, true, false)
