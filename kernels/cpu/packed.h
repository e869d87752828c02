// Packed weights: the form in which products read quantised weights. Sixteen rows make a tile, and a
// tile's blocks follow each other by column, so a product reads memory straight ahead. Within a
// block the fields of the sixteen rows stand side by side, and lane r of a vector is row r's:
//
//   stored, row by row                packed, a block of 16 rows
//   row 0   scale w0 w1 w2 w3  ...    scales: 16 · u16
//   row 1   scale w0 w1 w2 w3  ...    w0:     row 0 | row 1 | ... | row 15, 4 bytes each
//   ...                               w1:     row 0 | row 1 | ...
//
// Blocks of 256 are dealt out anew, so that what a product needs next always lies next: first their
// header, then for each 32 columns, as in the blocks of 32,
//
//   q4_K  4 words of nibbles       word j: weights 4j ..< 4j + 4 low, 4j + 16 ..< 4j + 20 high
//   q5_K  1 word of high bits      bit i is weight i's
//         4 words of nibbles
//   q2_K  2 words of pairs         word k: weights 16k + 4q ..< 16k + 4q + 4 at bits 2q of each byte
//   q3_K  1 word of high bits      bit i is weight i's
//         2 words of pairs
//   q6_K  2 scales of each row     [scale, row] bytes; so there is no header but the f16
//         4 words of nibbles
//         2 words of high pairs    as the pairs of q2_K
//
// A header keeps its bytes: of q2_K the words of scale and minimum and 16 bytes of scales, of q3_K the
// 12 bytes of scales. iq4_xs stores its columns like this already.
//
// A packed matrix takes the bytes of the stored one, its rows rounded up to whole tiles; rows that
// are not there are zero.

// The fields of a stored block: some of two bytes, and words of four.
typedef struct {
  cpu_type type;
  int columns;  // of a block
  int bytes;    // of a row's block
  int half_count, half_offset;
  int word_count, word_offset;
} block_layout;

// The bytes of the largest block, q6_K's.
enum { LARGEST_BLOCK = 210 };

static INLINE block_layout layout_of(cpu_type type) {
  switch (type) {
    case CPU_Q4_0: return (block_layout){type, 32, 18, 1, 0, 4, 2};
    case CPU_Q4_1: return (block_layout){type, 32, 20, 2, 0, 4, 4};
    case CPU_Q5_0: return (block_layout){type, 32, 22, 1, 0, 5, 2};
    case CPU_Q5_1: return (block_layout){type, 32, 24, 2, 0, 5, 4};
    case CPU_Q8_0: return (block_layout){type, 32, 34, 1, 0, 8, 2};
    case CPU_Q2_K: return (block_layout){type, 256, 84, 0, 0, 21, 0};
    case CPU_Q3_K: return (block_layout){type, 256, 110, 1, 108, 27, 0};
    case CPU_Q4_K: return (block_layout){type, 256, 144, 0, 0, 36, 0};
    case CPU_Q5_K: return (block_layout){type, 256, 176, 0, 0, 44, 0};
    case CPU_Q6_K: return (block_layout){type, 256, 210, 1, 208, 52, 0};
    case CPU_IQ4_NL: return (block_layout){type, 32, 18, 1, 0, 4, 2};
    case CPU_IQ4_XS: return (block_layout){type, 256, 136, 0, 0, 34, 0};
    default: return (block_layout){0};
  }
}

// Turns a block of sixteen rows, `offset` bytes from pointers into each, into fields side by side.
static INLINE void turn_block(const uint8_t *const rows[TILE_ROWS], int64_t offset,
                              block_layout layout, uint8_t *packed) {
  for (int half = 0; half < layout.half_count; half++) {
    for (int row = 0; row < TILE_ROWS; row++) {
      memcpy(packed + 2 * row, rows[row] + offset + layout.half_offset + 2 * half, 2);
    }
    packed += 2 * TILE_ROWS;
  }
  int word = 0;
  for (; word + 4 <= layout.word_count; word += 4) {
    for (int lane = 0; lane < TILE_ROWS; lane += TILE) {
      tile_u32 turned[4];
      load_turned(rows + lane, offset + layout.word_offset + 4 * word, turned);
      for (int i = 0; i < 4; i++) memcpy(packed + 64 * i + 4 * lane, &turned[i], sizeof turned[i]);
    }
    packed += 4 * 64;
  }
  for (; word < layout.word_count; word++) {
    for (int row = 0; row < TILE_ROWS; row++) {
      memcpy(packed + 4 * row, rows[row] + offset + layout.word_offset + 4 * word, 4);
    }
    packed += 64;
  }
}

static INLINE tile_u32 word_at(const uint8_t *words, int index) {
  tile_u32 v;
  memcpy(&v, words + 64 * index, sizeof v);
  return v;
}

static INLINE void put_word(uint8_t *words, int index, tile_u32 v) {
  memcpy(words + 64 * index, &v, sizeof v);
}

// Four words of nibbles for 32 columns, from the low or high nibbles of eight words.
static INLINE void deal_nibbles(const uint8_t *from, int shift, uint8_t *to) {
  for (int j = 0; j < 4; j++) {
    tile_u32 low = (word_at(from, j) >> shift) & 0x0F0F0F0Fu;
    tile_u32 high = (word_at(from, j + 4) >> shift) & 0x0F0F0F0Fu;
    put_word(to, j, low | high << 4);
  }
}

// The word whose bit i is bit `index` of byte i of the eight words.
static INLINE tile_u32 gather_bits(const uint8_t *from, int index) {
  tile_u32 bits = {0};
  for (int j = 0; j < 8; j++) {
    tile_u32 v = (word_at(from, j) >> index) & 0x01010101u;
    bits |= ((v | v >> 7 | v >> 14 | v >> 21) & 15u) << (4 * j);
  }
  return bits;
}

// Two words of pairs for 32 columns, from bits `shift` and the next of each byte of eight words.
static INLINE void deal_pairs(const uint8_t *from, int shift, uint8_t *to) {
  for (int k = 0; k < 2; k++) {
    tile_u32 pairs = {0};
    for (int q = 0; q < 4; q++) {
      pairs |= ((word_at(from, 4 * k + q) >> shift) & 0x03030303u) << (2 * q);
    }
    put_word(to, k, pairs);
  }
}

// Deals the turned words of a block of 256 out anew, for the lanes that both pointers are at.
static INLINE void deal_q2_K(const uint8_t *from, uint8_t *to) {
  put_word(to, 0, word_at(from, 20));
  for (int j = 0; j < 4; j++) put_word(to, 1 + j, word_at(from, j));
  for (int sub = 0; sub < 8; sub++) {
    deal_pairs(from + 64 * (4 + 8 * (sub / 4)), sub % 4 * 2, to + 64 * (5 + 2 * sub));
  }
}

static INLINE void deal_q3_K(const uint8_t *from, uint8_t *to) {
  for (int j = 0; j < 3; j++) put_word(to, j, word_at(from, 24 + j));
  for (int sub = 0; sub < 8; sub++) {
    put_word(to, 3 + 3 * sub, gather_bits(from, sub));
    deal_pairs(from + 64 * (8 + 8 * (sub / 4)), sub % 4 * 2, to + 64 * (4 + 3 * sub));
  }
}

static INLINE void deal_q4_K(const uint8_t *from, uint8_t *to) {
  for (int j = 0; j < 4; j++) put_word(to, j, word_at(from, j));
  for (int sub = 0; sub < 8; sub++) {
    deal_nibbles(from + 64 * (4 + 8 * (sub / 2)), sub % 2 * 4, to + 64 * (4 + 4 * sub));
  }
}

static INLINE void deal_q5_K(const uint8_t *from, uint8_t *to) {
  for (int j = 0; j < 4; j++) put_word(to, j, word_at(from, j));
  for (int sub = 0; sub < 8; sub++) {
    put_word(to, 4 + 5 * sub, gather_bits(from + 64 * 4, sub));
    deal_nibbles(from + 64 * (12 + 8 * (sub / 2)), sub % 2 * 4, to + 64 * (5 + 5 * sub));
  }
}

// What 32 columns of q6_K take.
enum { Q6_K_UNIT_BYTES = 2 * TILE_ROWS + 6 * 64 };

// Sixteen scales of each of sixteen rows, from words of four to two for each 32 columns.
static INLINE void deal_scales(const uint8_t *from, uint8_t *to) {
  for (int index = 0; index < 16; index++) {
    uint8_t *scales = to + index / 2 * Q6_K_UNIT_BYTES + index % 2 * TILE_ROWS;
    for (int row = 0; row < TILE_ROWS; row++) {
      scales[row] = from[64 * (index / 4) + 4 * row + index % 4];
    }
  }
}

static INLINE void deal_q6_K(const uint8_t *from, uint8_t *to) {
  for (int sub = 0; sub < 8; sub++) {
    int part = sub / 4, group = sub % 4;
    uint8_t *own = to + Q6_K_UNIT_BYTES * sub + 2 * TILE_ROWS;
    deal_nibbles(from + 64 * (16 * part + 8 * (group % 2)), group / 2 * 4, own);
    deal_pairs(from + 64 * (32 + 8 * part), 2 * group, own + 64 * 4);
  }
}

// Packs a block of sixteen rows, `offset` bytes from pointers into each.
static INLINE void pack_block(const uint8_t *const rows[TILE_ROWS], int64_t offset,
                              block_layout layout, uint8_t *packed) {
  cpu_type type = layout.type;
  if (layout.columns == 32 || type == CPU_IQ4_XS) {
    turn_block(rows, offset, layout, packed);
    return;
  }
  uint8_t turned[TILE_ROWS * LARGEST_BLOCK];
  turn_block(rows, offset, layout, turned);
  int halves = 2 * TILE_ROWS * layout.half_count;
  memcpy(packed, turned, (size_t)halves);
  for (int lane = 0; lane < TILE_ROWS; lane += TILE) {
    const uint8_t *from = turned + halves + 4 * lane;
    uint8_t *to = packed + halves + 4 * lane;
    if (type == CPU_Q2_K) deal_q2_K(from, to);
    if (type == CPU_Q3_K) deal_q3_K(from, to);
    if (type == CPU_Q4_K) deal_q4_K(from, to);
    if (type == CPU_Q5_K) deal_q5_K(from, to);
    if (type == CPU_Q6_K) deal_q6_K(from, to);
  }
  if (type == CPU_Q6_K) deal_scales(turned + halves + 64 * 48, packed + halves);
}

static INLINE void pack_tile(const cpu_matrix *source, int64_t first_row, uint8_t *packed) {
  static const uint8_t absent[256] = {0};
  _Static_assert(LARGEST_BLOCK <= sizeof absent, "a block of rows that are not there");
  block_layout layout = layout_of(source->type);
  const uint8_t *rows[TILE_ROWS];
  for (int row = 0; row < TILE_ROWS; row++) {
    rows[row] = first_row + row < source->rows
                    ? source->bytes + (first_row + row) * source->row_bytes
                    : absent;
  }
  for (int64_t column = 0; column < source->columns; column += layout.columns) {
    pack_block(rows, 0, layout, packed);
    packed += TILE_ROWS * layout.bytes;
    for (int row = 0; row < TILE_ROWS; row++) {
      if (rows[row] != absent) rows[row] += layout.bytes;
    }
  }
}

// The vectors of one packed block for lanes `lane` ..< `lane` + TILE.
typedef struct {
  const uint8_t *halves;
  const uint8_t *words;
} packed_block;

static INLINE packed_block packed_block_at(const uint8_t *bytes, int half_count, int lane) {
  return (packed_block){bytes + 2 * lane, bytes + 2 * TILE_ROWS * half_count + 4 * lane};
}

static INLINE tile_u32 packed_word(packed_block block, int index) {
  return word_at(block.words, index);
}

static INLINE void packed_words(packed_block block, int first, int count, tile_u32 *words) {
#pragma clang loop unroll(full)
  for (int i = 0; i < count; i++) words[i] = packed_word(block, first + i);
}

static INLINE tile_f32 packed_half(packed_block block, int index) {
  return load_halves(block.halves + 2 * TILE_ROWS * index);
}
