// q5_0: 22 bytes for 32 weights, w = (q - 16) · scale.
//
//   [scale f16][32 bits: bit i is weight i's high bit][16 bytes: nibbles as in q4_0]

DEFINE_LAYOUT(q5_0, 1, 0, 5, 2)

static INLINE void unpack_q5_0(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 1, lane);
  join_high_bits(packed, 0, block->weights);
  block->scale = packed_half(packed, 0);
}

static INLINE void dequantise_q5_0(const uint8_t *block, float *values) {
  dequantise_nibbles(block, false, true, values);
}

DEFINE_MATMUL(q5_0, 5, 16, false, false)
