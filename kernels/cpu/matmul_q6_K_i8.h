// q6_K: 210 bytes for 256 weights, w = (q - 32) · scale · s, one s for 16 weights.
//
//   [128 bytes of nibbles][64 bytes of high pairs][16 int8 s][scale f16]
//
// Two parts of 128 weights. Weight 32g + l of part h (g < 4, l < 32) has its nibble in byte
// 64h + 32(g mod 2) + l, low for g < 2, and its high pair in bits 2g of pair byte 32h + l.

static INLINE void unpack_q6_K_part(const uint8_t *nibble_bytes, const uint8_t *pair_bytes,
                                    int64_t stride, tile_block *blocks) {
  tile_u32 pairs[8];
  load_turned(pair_bytes, stride, pairs);
  load_turned(pair_bytes + 16, stride, pairs + 4);
  for (int side = 0; side < 2; side++) {
    load_nibble_pair(nibble_bytes + 32 * side, stride, blocks[side].weights,
                     blocks[side + 2].weights);
  }
  for (int group = 0; group < 4; group++) {
    for (int j = 0; j < 8; j++) {
      blocks[group].weights[j] |= ((pairs[j] >> (2 * group)) & 0x03030303u) << 4;
    }
  }
}

static INLINE void unpack_q6_K(const uint8_t *rows, int64_t stride, int64_t first, int64_t count,
                               tile_block *blocks) {
  for (int64_t i = 0; i < count; i += 8) {
    const uint8_t *p = rows + (first + i) / 8 * 210;
    tile_u32 scales[4];
    load_turned(p + 192, stride, scales);
    tile_f32 scale = load_halves(p + 208, stride);
    for (int part = 0; part < 2; part++) {
      unpack_q6_K_part(p + 64 * part, p + 128 + 32 * part, stride, &blocks[i + 4 * part]);
    }
    for (int block = 0; block < 8; block++) {
      blocks[i + block].scale = scale;
      for (int half = 0; half < 2; half++) {
        int index = 2 * block + half;
        // Byte index % 4 of the word, with its sign.
        blocks[i + block].half_scales[half] =
            (tile_i32)(scales[index / 4] << (24 - 8 * (index % 4))) >> 24;
      }
    }
  }
}

DEFINE_MATMUL(q6_K, 6, 32, false, true, 8)
