// q6_K: 210 bytes for 256 weights, w = (q - 32) · scale · s, one s for 16 weights.
//
//   [128 bytes of nibbles][64 bytes of high pairs][16 int8 s][scale f16]
//
// Two parts of 128 weights. Weight 32g + l of part h (g < 4, l < 32) has its nibble in byte
// 64h + 32(g mod 2) + l, low for g < 2, and its high pair in bits 2g of pair byte 32h + l.

// Packed: 4 words of scales, then for each 32 columns 4 words of nibbles and 2 of high pairs.

static INLINE void unpack_q6_K(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 1, lane);
  tile_u32 nibbles[4];
  packed_words(packed, 4 + 6 * index, 4, nibbles);
  split_nibbles(nibbles, block->weights);
  for (int k = 0; k < 2; k++) {
    tile_u32 pairs = packed_word(packed, 8 + 6 * index + k);
    block->weights[4 * k] |= (pairs << 4) & 0x30303030u;
    block->weights[4 * k + 1] |= (pairs << 2) & 0x30303030u;
    block->weights[4 * k + 2] |= pairs & 0x30303030u;
    block->weights[4 * k + 3] |= (pairs >> 2) & 0x30303030u;
  }
  block->scale = packed_half(packed, 0);
  tile_u32 scales = packed_word(packed, index / 2);
  for (int half = 0; half < 2; half++) {
    // Byte 2 · index + half of the scales, with its sign.
    int byte = 2 * (index % 2) + half;
    block->half_scales[half] = (tile_i32)(scales << (24 - 8 * byte)) >> 24;
  }
}

DEFINE_MATMUL(q6_K, CPU_Q6_K, 6, 32, false, true)
