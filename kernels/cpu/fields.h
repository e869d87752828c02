// Fields that several quantised types share: how the words of a packed block become the weights of
// 32 columns, how the words are rearranged ("dealt") when a block is packed, and how a stored block
// becomes f32.
//
// Packed words have, for 32 columns
//
//   nibbles     4 words, word j: weights 4j ..< 4j + 4 low, 4j + 16 ..< 4j + 20 high
//   high bits   1 word: bit i is weight i's
//   pairs       2 words, word k: weights 16k + 4q ..< 16k + 4q + 4 at bits 2q of each byte

// --- Nibbles, and their high bits ----------------------------------------------------------------

// Splits 16 bytes of nibbles into the 32 weights of a block.
static INLINE void split_nibbles(const tile_u32 nibbles[4], tile_u32 weights[8]) {
  for (int j = 0; j < 4; j++) {
    weights[j] = nibbles[j] & 0x0F0F0F0Fu;
    weights[j + 4] = (nibbles[j] >> 4) & 0x0F0F0F0Fu;
  }
}

// Returns 32 weights from a word of high bits, `first`, and the four words of nibbles after it.
static INLINE void join_high_bits(packed_block packed, int first, tile_u32 weights[8]) {
  tile_u32 nibbles[4];
  tile_u32 high = packed_word(packed, first);
  packed_words(packed, first + 1, 4, nibbles);
  split_nibbles(nibbles, weights);
  for (int j = 0; j < 8; j++) weights[j] |= spread_bits(high, j);
}

// Makes four words of nibbles for 32 columns from the low or high nibbles of eight words.
static INLINE void deal_nibbles(const uint8_t *from, int shift, uint8_t *to) {
  for (int j = 0; j < 4; j++) {
    tile_u32 low = (word_at(from, j) >> shift) & 0x0F0F0F0Fu;
    tile_u32 high = (word_at(from, j + 4) >> shift) & 0x0F0F0F0Fu;
    put_word(to, j, low | high << 4);
  }
}

// Returns the word whose bit i is bit `index` of byte i of the eight words.
static INLINE tile_u32 gather_bits(const uint8_t *from, int index) {
  tile_u32 bits = {0};
  for (int j = 0; j < 8; j++) {
    tile_u32 v = (word_at(from, j) >> index) & 0x01010101u;
    bits |= ((v | v >> 7 | v >> 14 | v >> 21) & 15u) << (4 * j);
  }
  return bits;
}

// q4_0, q4_1, q5_0, q5_1: scale, minimum in some, 32 high bits in some, 16 bytes of nibbles.
static INLINE void dequantise_nibbles(const uint8_t *block, bool has_minimum, bool has_high_bits,
                                      float *values) {
  float scale = half_value(block);
  float minimum = has_minimum ? half_value(block + 2) : (has_high_bits ? -16 : -8) * scale;
  const uint8_t *p = block + (has_minimum ? 4 : 2);
  uint32_t high = 0;
  if (has_high_bits) memcpy(&high, p, sizeof high);
  const uint8_t *nibbles = p + (has_high_bits ? 4 : 0);
  for (int i = 0; i < 16; i++) {
    uint32_t low = (nibbles[i] & 15u) | ((high >> i) & 1) << 4;
    uint32_t top = (uint32_t)nibbles[i] >> 4 | ((high >> (i + 16)) & 1) << 4;
    values[i] = (float)low * scale + minimum;
    values[i + 16] = (float)top * scale + minimum;
  }
}

// --- Pairs of bits -------------------------------------------------------------------------------

// Returns 32 weights of two bits from two words of pairs.
static INLINE void split_pairs(packed_block packed, int first, tile_u32 weights[8]) {
  for (int k = 0; k < 2; k++) {
    tile_u32 pairs = packed_word(packed, first + k);
    for (int q = 0; q < 4; q++) weights[4 * k + q] = (pairs >> (2 * q)) & 0x03030303u;
  }
}

// Makes two words of pairs for 32 columns from bits `shift` and `shift` + 1 of each byte of eight
// words.
static INLINE void deal_pairs(const uint8_t *from, int shift, uint8_t *to) {
  for (int k = 0; k < 2; k++) {
    tile_u32 pairs = {0};
    for (int q = 0; q < 4; q++) {
      pairs |= ((word_at(from, 4 * k + q) >> shift) & 0x03030303u) << (2 * q);
    }
    put_word(to, k, pairs);
  }
}

// There are two halves of 128 weights; weight 32g + l of a half is in bits 2g of its byte l.
static INLINE int pair_at(const uint8_t *pairs, int i) {
  return pairs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

// --- Six-bit scales and minima of eight sub-blocks: q4_K, q5_K -----------------------------------
//
// Of 12 bytes b: sub-blocks j < 4 have s in the low six bits of b[j], m in those of b[j + 4];
// sub-blocks j >= 4 have the low four bits of s and m in b[j + 4], the upper two in the top bits of
// b[j - 4] (s) and b[j] (m).

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

// q4_K, q5_K: 256 weights in eight sub-blocks with 6-bit scales and minima.
static INLINE void dequantise_six_bit(const uint8_t *block, bool has_high_bits, float *values) {
  float scale = half_value(block);
  float minimum = half_value(block + 2);
  const uint8_t *packed = block + 4;
  const uint8_t *high = block + 16;
  const uint8_t *nibbles = block + (has_high_bits ? 48 : 16);
  for (int sub = 0; sub < 8; sub++) {
    int s = sub < 4 ? packed[sub] & 63 : (packed[sub + 4] & 15) | (packed[sub - 4] >> 6) << 4;
    int m = sub < 4 ? packed[sub + 4] & 63 : packed[sub + 4] >> 4 | (packed[sub] >> 6) << 4;
    float step = scale * (float)s;
    float offset = minimum * (float)m;
    for (int i = 0; i < 32; i++) {
      int byte = nibbles[sub / 2 * 32 + i];
      int quant = sub % 2 == 0 ? byte & 15 : byte >> 4;
      if (has_high_bits) quant |= ((high[i] >> sub) & 1) << 4;
      values[sub * 32 + i] = (float)quant * step - offset;
    }
  }
}

// --- Nibbles that index a table: iq4_nl, iq4_xs --------------------------------------------------

// kvalues_iq4nl of ggml-common.h.
#define IQ4_VALUES(V)                                       \
  V(-127) V(-104) V(-83) V(-65) V(-49) V(-35) V(-22) V(-10) \
  V(1) V(13) V(25) V(38) V(53) V(69) V(89) V(113)

// Returns 32 weights from the four words of nibbles from `first` on, in the form that this
// instruction set multiplies.
static INLINE void look_up_nibbles(packed_block packed, int first, tile_u32 weights[8]) {
#define VALUE(v) (uint8_t)((v) + Q8_OFFSET),
  static const uint8_t table[16] = {IQ4_VALUES(VALUE)};
#undef VALUE
  tile_u32 nibbles[4];
  packed_words(packed, first, 4, nibbles);
  split_nibbles(nibbles, weights);
  for (int j = 0; j < 8; j++) weights[j] = bytes_of_table(table, weights[j]);
}

static INLINE void dequantise_iq4(const uint8_t *nibbles, float step, float *values) {
#define VALUE(v) v,
  static const int8_t table[16] = {IQ4_VALUES(VALUE)};
#undef VALUE
  for (int i = 0; i < 16; i++) {
    values[i] = step * (float)table[nibbles[i] & 15];
    values[i + 16] = step * (float)table[nibbles[i] >> 4];
  }
}
