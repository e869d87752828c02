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

static INLINE six_bit_header read_six_bit_header(const uint8_t *p, int64_t stride) {
  tile_u32 words[4];
  load_turned(p, stride, words);
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

static INLINE void set_six_bit_scales(const six_bit_header *header, int sub, tile_block *block) {
  block->scale = header->scale * byte_of(header->scales[sub / 4], sub % 4);
  block->minimum = -(header->minimum * byte_of(header->minima[sub / 4], sub % 4));
}

// Two sub-blocks' nibbles: 32 bytes.
static INLINE void load_nibble_pair(const uint8_t *p, int64_t stride, tile_u32 low[8],
                                    tile_u32 high[8]) {
  tile_u32 nibbles[8];
  load_turned(p, stride, nibbles);
  load_turned(p + 16, stride, nibbles + 4);
  for (int j = 0; j < 8; j++) {
    low[j] = nibbles[j] & 0x0F0F0F0Fu;
    high[j] = (nibbles[j] >> 4) & 0x0F0F0F0Fu;
  }
}

static INLINE void unpack_q4_K(const uint8_t *rows, int64_t stride, int64_t first, int64_t count,
                               tile_block *blocks) {
  for (int64_t i = 0; i < count; i += 8) {
    const uint8_t *p = rows + (first + i) / 8 * 144;
    six_bit_header header = read_six_bit_header(p, stride);
    for (int pair = 0; pair < 4; pair++) {
      tile_block *low = &blocks[i + 2 * pair];
      load_nibble_pair(p + 16 + 32 * pair, stride, low[0].weights, low[1].weights);
    }
    for (int sub = 0; sub < 8; sub++) set_six_bit_scales(&header, sub, &blocks[i + sub]);
  }
}

DEFINE_MATMUL(q4_K, 4, 0, true, false, 8)
