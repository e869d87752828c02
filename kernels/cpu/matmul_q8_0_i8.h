// q8_0: 34 bytes for 32 weights, w = q · scale.
//
//   [scale f16][32 int8]

static INLINE void unpack_q8_0(const uint8_t *rows, int64_t stride, int64_t first, int64_t count,
                               tile_block *blocks) {
  for (int64_t i = 0; i < count; i++) {
    const uint8_t *p = rows + (first + i) * 34;
    load_turned(p + 2, stride, blocks[i].weights);
    load_turned(p + 18, stride, blocks[i].weights + 4);
    if (Q8_OFFSET != 0) {
      // Flipping the sign bit adds 128 and makes the byte unsigned.
      for (int j = 0; j < 8; j++) blocks[i].weights[j] ^= 0x80808080u;
    }
    blocks[i].scale = load_halves(p, stride);
  }
}

DEFINE_MATMUL(q8_0, 8, Q8_OFFSET, false, false, 1)
