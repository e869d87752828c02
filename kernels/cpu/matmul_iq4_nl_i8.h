// iq4_nl: 18 bytes for 32 weights, w = table[q] · scale.
//
//   [scale f16][16 bytes: byte i holds q i low, q i + 16 high]
//
// The table's values take eight bits, so products are those of q8_0.

DEFINE_LAYOUT(iq4_nl, 1, 0, 4, 2)

static INLINE void unpack_iq4_nl(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 1, lane);
  look_up_nibbles(packed, 0, block->weights);
  block->scale = packed_half(packed, 0);
}

static INLINE void dequantise_iq4_nl(const uint8_t *block, float *values) {
  dequantise_iq4(block + 2, half_value(block), values);
}

DEFINE_MATMUL(iq4_nl, 8, Q8_OFFSET, false, false)
