// Packed weights: the form in which products read quantised weights. Sixteen rows form a tile, and
// a tile's blocks follow each other by column, so a product reads memory sequentially. Within a
// block the fields of the sixteen rows are side by side, and lane r of a vector belongs to row r:
//
//   stored, row by row                packed, a block of 16 rows
//   row 0   scale w0 w1 w2 w3  ...    scales: 16 · u16
//   row 1   scale w0 w1 w2 w3  ...    w0:     row 0 | row 1 | ... | row 15, 4 bytes each
//   ...                               w1:     row 0 | row 1 | ...
//
// The words of blocks of 256 are rearranged ("dealt"), so that a product reads them in order: first
// the header, then the words of each 32 columns, as in blocks of 32. fields.h and the file of each
// type describe these words.
//
// A packed matrix takes as many bytes as the stored one with its rows rounded up to whole tiles;
// the rows that are added are zero.

// The fields of a stored block: some of two bytes, and words of four.
typedef struct {
  cpu_type type;
  int columns;  // of a block
  int bytes;    // of a row's block
  int half_count, half_offset;
  int word_count, word_offset;
  bool is_dealt;  // deal_<name> deals the words out anew
} block_layout;

#define LAYOUT_OF(name, half_count, half_offset, word_count, word_offset, is_dealt)           \
  _Static_assert(2 * (half_count) + 4 * (word_count) == BYTES_##name,                         \
                 "the fields of " #name " are its block");                                    \
  static INLINE block_layout layout_##name(void) {                                            \
    return (block_layout){CPU_##name,  COLUMNS_##name, BYTES_##name, half_count, half_offset, \
                          word_count, word_offset,    is_dealt};                              \
  }

// Defines where the f16 and the words of a type's stored block are. Packed words keep their order.
#define DEFINE_LAYOUT(name, half_count, half_offset, word_count, word_offset) \
  LAYOUT_OF(name, half_count, half_offset, word_count, word_offset, false)    \
  static INLINE void deal_##name(const uint8_t *turned, uint8_t *packed) {    \
    (void)turned, (void)packed;                                               \
  }

// Does the same for a type whose words are rearranged by its deal_<name>, for a block of sixteen
// rows.
#define DEFINE_DEALT_LAYOUT(name, half_count, half_offset, word_count, word_offset) \
  LAYOUT_OF(name, half_count, half_offset, word_count, word_offset, true)

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
