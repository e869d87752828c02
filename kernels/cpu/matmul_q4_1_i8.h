// q4_1: 20 bytes for 32 weights, w = q · scale + minimum.
//
//   [scale f16][minimum f16][16 bytes: byte i holds weight i low, weight i + 16 high]

DEFINE_LAYOUT(q4_1, 2, 0, 4, 4)

static INLINE void unpack_q4_1(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 2, lane);
  tile_u32 nibbles[4];
  packed_words(packed, 0, 4, nibbles);
  split_nibbles(nibbles, block->weights);
  block->scale = packed_half(packed, 0);
  block->minimum = packed_half(packed, 1);
}

static INLINE void dequantise_q4_1(const uint8_t *block, float *values) {
  dequantise_nibbles(block, true, false, values);
}

DEFINE_MATMUL(q4_1, 4, 0, true, false)
