// iq4_xs: 136 bytes for 256 weights in eight sub-blocks of 32, w = table[q] · (scale · (s - 32)).
//
//   [scale f16][16 bits: two high bits of each s][4 bytes: four low bits of each s][128 bytes: each
//   sub-block's nibbles and the table as in iq4_nl]

DEFINE_LAYOUT(iq4_xs, 0, 0, 34, 0)

static INLINE void unpack_iq4_xs(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 0, lane);
  look_up_nibbles(packed, 2 + 4 * index, block->weights);
  tile_u32 head = packed_word(packed, 0);
  tile_u32 low = (packed_word(packed, 1) >> (4 * index)) & 15u;
  tile_u32 high = (head >> (16 + 2 * index)) & 3u;
  tile_i32 scale = (tile_i32)(low | high << 4) - 32;
  block->scale = halves_to_floats(head) * __builtin_convertvector(scale, tile_f32);
}

static INLINE void dequantise_iq4_xs(const uint8_t *block, float *values) {
  float scale = half_value(block);
  int high = block[2] | block[3] << 8;
  for (int sub = 0; sub < 8; sub++) {
    int low = block[4 + sub / 2] >> (sub % 2 * 4) & 15;
    int s = low | (high >> (2 * sub) & 3) << 4;
    dequantise_iq4(block + 8 + 16 * sub, scale * (float)(s - 32), values + 32 * sub);
  }
}

DEFINE_MATMUL(iq4_xs, 8, Q8_OFFSET, false, false)
