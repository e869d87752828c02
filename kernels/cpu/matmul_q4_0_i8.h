// q4_0: 18 bytes for 32 weights, w = (q - 8) · scale.
//
//   [scale f16][16 bytes: byte i holds weight i low, weight i + 16 high]

// Splits 16 bytes of nibbles into the 32 weights of a block.
static INLINE void split_nibbles(const tile_u32 nibbles[4], tile_u32 weights[8]) {
  for (int j = 0; j < 4; j++) {
    weights[j] = nibbles[j] & 0x0F0F0F0Fu;
    weights[j + 4] = (nibbles[j] >> 4) & 0x0F0F0F0Fu;
  }
}

static INLINE void unpack_q4_0(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 1, lane);
  tile_u32 nibbles[4];
  packed_words(packed, 0, 4, nibbles);
  split_nibbles(nibbles, block->weights);
  block->scale = packed_half(packed, 0);
}

DEFINE_MATMUL(q4_0, CPU_Q4_0, 4, 8, false, false)
