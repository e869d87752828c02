// q5_0: 22 bytes for 32 weights, w = (q - 16) · scale.
//
//   [scale f16][32 bits: bit i is weight i's high bit][16 bytes: nibbles as in q4_0]

// A 4-byte word at the same place of each row.
static INLINE tile_u32 load_words(const uint8_t *p, int64_t stride) {
  uint32_t words[TILE];
  for (int row = 0; row < TILE; row++) memcpy(&words[row], p + row * stride, 4);
  tile_u32 v;
  memcpy(&v, words, sizeof v);
  return v;
}

// A block of 32 weights from turned nibbles and a word of high bits.
static INLINE void join_high_bits(const tile_u32 nibbles[4], tile_u32 high, tile_u32 weights[8]) {
  split_nibbles(nibbles, weights);
  for (int j = 0; j < 8; j++) weights[j] |= spread_bits(high, j);
}

static INLINE void unpack_q5_0(const uint8_t *rows, int64_t stride, int64_t first, int64_t count,
                               tile_block *blocks) {
  for (int64_t i = 0; i < count; i++) {
    const uint8_t *p = rows + (first + i) * 22;
    tile_u32 nibbles[4];
    load_turned(p + 6, stride, nibbles);
    join_high_bits(nibbles, load_words(p + 2, stride), blocks[i].weights);
    blocks[i].scale = load_halves(p, stride);
  }
}

DEFINE_MATMUL(q5_0, 5, 16, false, false, 1)
