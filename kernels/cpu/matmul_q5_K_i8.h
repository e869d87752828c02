// q5_K: 176 bytes for 256 weights in eight sub-blocks of 32, w = q · (scale · s) - minimum · m.
//
//   [scale, minimum, s and m as in q4_K: 16 bytes][32 bytes: bit j of byte l is the high bit of
//   weight l of sub-block j][128 bytes of nibbles as in q4_K]

static INLINE void unpack_q5_K(const uint8_t *rows, int64_t stride, int64_t first, int64_t count,
                               tile_block *blocks) {
  for (int64_t i = 0; i < count; i += 8) {
    const uint8_t *p = rows + (first + i) / 8 * 176;
    six_bit_header header = read_six_bit_header(p, stride);
    tile_u32 high[8];
    load_turned(p + 16, stride, high);
    load_turned(p + 32, stride, high + 4);
    for (int pair = 0; pair < 4; pair++) {
      tile_block *low = &blocks[i + 2 * pair];
      load_nibble_pair(p + 48 + 32 * pair, stride, low[0].weights, low[1].weights);
      for (int j = 0; j < 8; j++) {
        low[0].weights[j] |= ((high[j] >> (2 * pair)) & 0x01010101u) << 4;
        low[1].weights[j] |= ((high[j] >> (2 * pair + 1)) & 0x01010101u) << 4;
      }
    }
    for (int sub = 0; sub < 8; sub++) set_six_bit_scales(&header, sub, &blocks[i + sub]);
  }
}

DEFINE_MATMUL(q5_K, 5, 0, true, false, 8)
