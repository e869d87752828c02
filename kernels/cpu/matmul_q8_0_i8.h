// q8_0: 34 bytes for 32 weights, w = q · scale.
//
//   [scale f16][32 int8]

DEFINE_LAYOUT(q8_0, 1, 0, 8, 2)

static INLINE void unpack_q8_0(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 1, lane);
  packed_words(packed, 0, 8, block->weights);
  if (Q8_OFFSET != 0) {
    // Flipping the sign bit adds 128 and makes the byte unsigned.
    for (int j = 0; j < 8; j++) block->weights[j] ^= 0x80808080u;
  }
  block->scale = packed_half(packed, 0);
}

static INLINE void dequantise_q8_0(const uint8_t *block, float *values) {
  float scale = half_value(block);
  for (int i = 0; i < 32; i++) values[i] = (float)(int8_t)block[2 + i] * scale;
}

DEFINE_MATMUL(q8_0, 8, Q8_OFFSET, false, false)
