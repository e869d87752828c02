// q2_K: 84 bytes for 256 weights, w = q · (scale · s) - minimum · m, one s and one m for 16 weights.
//
//   [16 bytes: s low, m high][64 bytes of pairs][scale f16][minimum f16]
//
// Two parts of 128 weights: weight 32g + l of one (g < 4, l < 32) stands in bits 2g of its byte l.

// 32 weights of two bits from two words of pairs.
static INLINE void split_pairs(packed_block packed, int first, tile_u32 weights[8]) {
  for (int k = 0; k < 2; k++) {
    tile_u32 pairs = packed_word(packed, first + k);
    for (int q = 0; q < 4; q++) weights[4 * k + q] = (pairs >> (2 * q)) & 0x03030303u;
  }
}

static INLINE void unpack_q2_K(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 0, lane);
  split_pairs(packed, 5 + 2 * index, block->weights);
  tile_u32 scales = packed_word(packed, 1 + index / 2) >> (index % 2 * 16);
  block->half_scales[0] = (tile_i32)(scales & 255u);
  block->half_scales[1] = (tile_i32)((scales >> 8) & 255u);
  block->scale = (tile_f32)packed_word(packed, 0);
}

DEFINE_MATMUL(q2_K, CPU_Q2_K, 2, 0, true, true)
