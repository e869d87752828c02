// q4_0: 18 bytes for 32 weights, w = (q - 8) · scale.
//
//   [scale f16][16 bytes: byte i holds weight i low, weight i + 16 high]

DEFINE_LAYOUT(q4_0, 1, 0, 4, 2)

static INLINE void unpack_q4_0(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 1, lane);
  tile_u32 nibbles[4];
  packed_words(packed, 0, 4, nibbles);
  split_nibbles(nibbles, block->weights);
  block->scale = packed_half(packed, 0);
}

static INLINE void dequantise_q4_0(const uint8_t *block, float *values) {
  dequantise_nibbles(block, false, false, values);
}

DEFINE_MATMUL(q4_0, 4, 8, false, false)
