// q4_0: 18 bytes for 32 weights, w = (q - 8) · scale.
//
//   [scale f16][16 bytes: byte i holds weight i low, weight i + 16 high]

// Splits 16 turned bytes of nibbles into the 32 weights of a block.
static INLINE void split_nibbles(const tile_u32 nibbles[4], tile_u32 weights[8]) {
  for (int j = 0; j < 4; j++) {
    weights[j] = nibbles[j] & 0x0F0F0F0Fu;
    weights[j + 4] = (nibbles[j] >> 4) & 0x0F0F0F0Fu;
  }
}

static INLINE void unpack_q4_0(const uint8_t *rows, int64_t stride, int64_t first, int64_t count,
                               tile_block *blocks) {
  for (int64_t i = 0; i < count; i++) {
    const uint8_t *p = rows + (first + i) * 18;
    tile_u32 nibbles[4];
    load_turned(p + 2, stride, nibbles);
    split_nibbles(nibbles, blocks[i].weights);
    blocks[i].scale = load_halves(p, stride);
  }
}

DEFINE_MATMUL(q4_0, 4, 8, false, false, 1)
