// iq4_nl: 18 bytes for 32 weights, w = table[q] · scale.
//
//   [scale f16][16 bytes: byte i holds q i low, q i + 16 high]
//
// The table's values take eight bits, so products are those of q8_0.

// 32 weights from the four words of nibbles from `first` on.
static INLINE void look_up_nibbles(packed_block packed, int first, tile_u32 weights[8]) {
#define VALUE(v) (uint8_t)((v) + Q8_OFFSET)
  // iq4_values of dequantise.h, as this instruction set multiplies them.
  static const uint8_t table[16] = {VALUE(-127), VALUE(-104), VALUE(-83), VALUE(-65),
                                    VALUE(-49),  VALUE(-35),  VALUE(-22), VALUE(-10),
                                    VALUE(1),    VALUE(13),   VALUE(25),  VALUE(38),
                                    VALUE(53),   VALUE(69),   VALUE(89),  VALUE(113)};
#undef VALUE
  tile_u32 nibbles[4];
  packed_words(packed, first, 4, nibbles);
  split_nibbles(nibbles, weights);
  for (int j = 0; j < 8; j++) weights[j] = bytes_of_table(table, weights[j]);
}

static INLINE void unpack_iq4_nl(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 1, lane);
  look_up_nibbles(packed, 0, block->weights);
  block->scale = packed_half(packed, 0);
}

DEFINE_MATMUL(iq4_nl, CPU_IQ4_NL, 8, Q8_OFFSET, false, false)
