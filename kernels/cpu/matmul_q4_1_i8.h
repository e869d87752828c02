// q4_1: 20 bytes for 32 weights, w = q · scale + minimum.
//
//   [scale f16][minimum f16][16 bytes: byte i holds weight i low, weight i + 16 high]

static INLINE void unpack_q4_1(const uint8_t *rows, int64_t stride, int64_t first, int64_t count,
                               tile_block *blocks) {
  for (int64_t i = 0; i < count; i++) {
    const uint8_t *p = rows + (first + i) * 20;
    tile_u32 nibbles[4];
    load_turned(p + 4, stride, nibbles);
    split_nibbles(nibbles, blocks[i].weights);
    blocks[i].scale = load_halves(p, stride);
    blocks[i].minimum = load_halves(p + 2, stride);
  }
}

DEFINE_MATMUL(q4_1, 4, 0, true, false, 1)
