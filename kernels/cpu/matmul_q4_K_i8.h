// q4_K: 144 bytes for 256 weights in eight sub-blocks of 32, w = q · (scale · s) - minimum · m.
//
//   [scale f16][minimum f16][12 bytes: eight 6-bit s, eight 6-bit m][128 bytes of nibbles]
//
// Of the 12 bytes b: sub-blocks j < 4 have s in the low six bits of b[j], m in those of b[j + 4];
// sub-blocks j >= 4 have the low four bits of s and m in b[j + 4], the upper two in the top bits of
// b[j - 4] (s) and b[j] (m). Nibbles: sub-blocks 2c and 2c + 1 are the low and the high nibbles of
// bytes 32c ..< 32c + 32.

// The first 16 bytes of a q4_K or q5_K block, decoded: byte j of word j / 4 is sub-block j's.
typedef struct {
  tile_f32 scale;
  tile_f32 minimum;
  tile_u32 scales[2];
  tile_u32 minima[2];
} six_bit_header;

static INLINE six_bit_header read_six_bit_header(packed_block packed) {
  tile_u32 words[4];
  packed_words(packed, 0, 4, words);
  six_bit_header header;
  header.scale = halves_to_floats(words[0]);
  header.minimum = halves_to_floats(words[0] >> 16);
  header.scales[0] = words[1] & 0x3F3F3F3Fu;
  header.minima[0] = words[2] & 0x3F3F3F3Fu;
  header.scales[1] = (words[3] & 0x0F0F0F0Fu) | ((words[1] >> 2) & 0x30303030u);
  header.minima[1] = ((words[3] >> 4) & 0x0F0F0F0Fu) | ((words[2] >> 2) & 0x30303030u);
  return header;
}

static INLINE tile_f32 byte_of(tile_u32 word, int index) {
  return __builtin_convertvector((tile_i32)((word >> (8 * index)) & 255u), tile_f32);
}

static INLINE void set_six_bit_scales(packed_block packed, int index, tile_block *block) {
  six_bit_header header = read_six_bit_header(packed);
  block->scale = header.scale * byte_of(header.scales[index / 4], index % 4);
  block->minimum = -(header.minimum * byte_of(header.minima[index / 4], index % 4));
}

static INLINE void unpack_q4_K(const uint8_t *bytes, int lane, int index, tile_block *block) {
  packed_block packed = packed_block_at(bytes, 0, lane);
  tile_u32 nibbles[4];
  packed_words(packed, 4 + 4 * index, 4, nibbles);
  split_nibbles(nibbles, block->weights);
  set_six_bit_scales(packed, index, block);
}

DEFINE_MATMUL(q4_K, CPU_Q4_K, 4, 0, true, false)
