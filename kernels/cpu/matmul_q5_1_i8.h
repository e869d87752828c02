// q5_1: 24 bytes for 32 weights, w = q · scale + minimum.
//
//   [scale f16][minimum f16][32 bits: bit i is weight i's high bit][16 bytes: nibbles as in q4_0]

static INLINE void unpack_q5_1(const uint8_t *rows, int64_t stride, int64_t first, int64_t count,
                               tile_block *blocks) {
  for (int64_t i = 0; i < count; i++) {
    const uint8_t *p = rows + (first + i) * 24;
    tile_u32 nibbles[4];
    load_turned(p + 8, stride, nibbles);
    join_high_bits(nibbles, load_words(p + 4, stride), blocks[i].weights);
    blocks[i].scale = load_halves(p, stride);
    blocks[i].minimum = load_halves(p + 2, stride);
  }
}

DEFINE_MATMUL(q5_1, 5, 0, true, false, 1)
