// q4_K: 144 bytes for 256 weights in eight sub-blocks of 32, w = q · (scale · s) - minimum · m.
//
//   [scale f16][minimum f16][12 bytes: eight 6-bit s, eight 6-bit m][128 bytes of nibbles]
//
// The 12 bytes are drawn in fields.h. Nibbles: sub-blocks 2c and 2c + 1 are the low and the high
// nibbles of bytes 32c ..< 32c + 32.
//
// Packed: the 4 words of the header; for each 32 columns 4 words of nibbles.

static INLINE void deal_q4_K(const uint8_t *turned, uint8_t *packed) {
  for (int lane = 0; lane < TILE_ROWS; lane += TILE) {
    const uint8_t *from = turned + 4 * lane;
    uint8_t *to = packed + 4 * lane;
    for (int j = 0; j < 4; j++) put_word(to, j, word_at(from, j));
    for (int sub = 0; sub < 8; sub++) {
      deal_nibbles(from + 64 * (4 + 8 * (sub / 2)), sub % 2 * 4, to + 64 * (4 + 4 * sub));
    }
  }
}

DEFINE_DEALT_LAYOUT(q4_K, 0, 0, 36, 0)

static INLINE void unpack_q4_K(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 0, lane);
  tile_u32 nibbles[4];
  packed_words(packed, 4 + 4 * index, 4, nibbles);
  split_nibbles(nibbles, block->weights);
  set_six_bit_scales(packed, index, block);
}

static INLINE void dequantise_q4_K(const uint8_t *block, float *values) {
  dequantise_six_bit(block, false, values);
}

DEFINE_MATMUL(q4_K, 4, 0, true, false)
