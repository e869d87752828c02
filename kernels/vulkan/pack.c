// Packs weights for the shaders. A tile has sixteen rows; its columns are divided into chunks of 256, the
// last of which may be smaller. A chunk consists of planes; a plane has 16 bytes of each row, row after row,
// so that adjacent lanes, which have adjacent rows, read adjacent bytes:
//
//   chunk   [plane 0: row 0 ... row 15][plane 1: row 0 ... row 15] ... [rest]
//
// The rest, which some types have, is smaller than a plane and has a few bytes of each row. What each type's
// planes are is said in its shader, matmul_<type>_*.comp, which reads what is written here. A block has 32
// weights. Bits are arranged so that a shader gets four weights in the bytes of a word by a shift and a mask:
//
//   nibbles  16 bytes: byte i has weight i low, weight i + 16 high
//   pairs    two words: bits 2k of byte i of the first have weight 4k + i, of the second weight 4k + 16 + i
//   bits     a word: bit k of byte i has weight 4k + i
//
// Source of the formats: ggml/src/ggml-common.h in ggml-org/llama.cpp.

#include <string.h>

#include "include/VulkanKernels.h"

// Numbers of types in GGUF files.
enum {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  IQ4_NL = 20,
  IQ4_XS = 23,
  BF16 = 30,
};

enum { VECTOR = 16, PLANE = VULKAN_TILE_ROWS * VECTOR };

// The planes of single bits that so many blocks have.
static int64_t bit_planes(int64_t blocks) { return (blocks + 3) / 4; }

// The bytes of a chunk with so many columns; -1 if the type has none.
static int64_t chunk_bytes(uint32_t type, int64_t columns) {
  int64_t blocks = columns / 32;
  switch (type) {
    case F32: return PLANE * ((columns + 3) / 4);
    case F16:
    case BF16: return PLANE * ((columns + 7) / 8);
    default: break;
  }
  if (columns % 32 != 0) return -1;
  switch (type) {
    case Q4_0:
    case IQ4_NL: return PLANE * (blocks + 1);
    case Q4_1: return PLANE * (blocks + 2);
    case Q5_0: return PLANE * (blocks + bit_planes(blocks) + 1);
    case Q5_1: return PLANE * (blocks + bit_planes(blocks) + 2);
    case Q8_0: return PLANE * (2 * blocks + 1);
    default: break;
  }
  if (columns != VULKAN_CHUNK_COLUMNS) return -1;
  switch (type) {
    case Q2_K: return PLANE * 5 + VULKAN_TILE_ROWS * 4;
    case Q3_K: return PLANE * 7 + VULKAN_TILE_ROWS * 2;
    case Q4_K: return PLANE * 9;
    case Q5_K: return PLANE * 11;
    case Q6_K: return PLANE * 13 + VULKAN_TILE_ROWS * 2;
    case IQ4_XS: return PLANE * 8 + VULKAN_TILE_ROWS * 8;
    default: return -1;
  }
}

int64_t vulkan_chunk_bytes(uint32_t type) { return chunk_bytes(type, VULKAN_CHUNK_COLUMNS); }

int64_t vulkan_tile_bytes(uint32_t type, int64_t columns) {
  int64_t whole = vulkan_chunk_bytes(type);
  int64_t rest = columns % VULKAN_CHUNK_COLUMNS;
  int64_t last = rest ? chunk_bytes(type, rest) : 0;
  return columns <= 0 || whole < 0 || last < 0 ? -1
                                               : columns / VULKAN_CHUNK_COLUMNS * whole + last;
}

// Where a row's part of a plane is.
static uint8_t *vector(uint8_t *chunk, int64_t plane, int row) {
  return chunk + plane * PLANE + row * VECTOR;
}

static void put_nibbles(const uint8_t q[32], uint8_t *out) {
  for (int i = 0; i < 16; i++) out[i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
}

// The two bits of each weight from `shift` on.
static void put_pairs(const uint8_t q[32], int shift, uint8_t *out) {
  uint32_t words[2] = {0, 0};
  for (int i = 0; i < 32; i++) {
    int k = i / 4 % 4;
    words[i / 16] |= (uint32_t)((q[i] >> shift) & 3) << (8 * (i % 4) + 2 * k);
  }
  memcpy(out, words, sizeof words);
}

// The bit `shift` of each weight.
static void put_bits(const uint8_t q[32], int shift, uint8_t *out) {
  uint32_t word = 0;
  for (int i = 0; i < 32; i++) word |= (uint32_t)((q[i] >> shift) & 1) << (8 * (i % 4) + i / 4);
  memcpy(out, &word, sizeof word);
}

// High bits as files have them: bit i is of weight i.
static void put_file_bits(const uint8_t *file, uint8_t *out) {
  uint8_t q[32];
  for (int i = 0; i < 32; i++) q[i] = (file[i / 8] >> (i % 8)) & 1;
  put_bits(q, 0, out);
}

// Types with blocks of 32: [d][m, if any][high bits, if any][quants].
static void pack_blocks(uint32_t type, const uint8_t *source, int64_t blocks, int row,
                        uint8_t *chunk) {
  int has_minimum = type == Q4_1 || type == Q5_1;
  int has_bits = type == Q5_0 || type == Q5_1;
  int quant_bytes = type == Q8_0 ? 32 : 16;
  int64_t planes = blocks * quant_bytes / VECTOR;
  int64_t scales = planes + (has_bits ? bit_planes(blocks) : 0);
  for (int64_t b = 0; b < blocks; b++) {
    const uint8_t *quants = source + 2 + 2 * has_minimum + 4 * has_bits;
    for (int part = 0; part < quant_bytes; part += VECTOR) {
      memcpy(vector(chunk, (b * quant_bytes + part) / VECTOR, row), quants + part, VECTOR);
    }
    if (has_bits) {
      put_file_bits(quants - 4, vector(chunk, planes + b / 4, row) + 4 * (b % 4));
    }
    memcpy(vector(chunk, scales, row) + 2 * b, source, 2);
    if (has_minimum) memcpy(vector(chunk, scales + 1, row) + 2 * b, source + 2, 2);
    source = quants + quant_bytes;
  }
}

// q4_K and q5_K: [d][dmin][12 bytes: eight six-bit s, eight six-bit m][32 bytes of high bits, in q5_K]
// [128 bytes of nibbles: blocks 2j and 2j + 1 share 32 bytes].
static void pack_q45(const uint8_t *source, int has_bits, int row, uint8_t *chunk) {
  const uint8_t *packed = source + 4;
  const uint8_t *high = source + 16;
  const uint8_t *nibbles = high + 32 * has_bits;
  for (int b = 0; b < 8; b++) {
    uint8_t q[32];
    for (int i = 0; i < 32; i++) {
      q[i] = (uint8_t)((nibbles[b / 2 * 32 + i] >> (b % 2 * 4)) & 15);
      if (has_bits) q[i] = (uint8_t)(q[i] | ((high[i] >> b) & 1) << 4);
    }
    put_nibbles(q, vector(chunk, b, row));
    if (has_bits) put_bits(q, 4, vector(chunk, 8 + b / 4, row) + 4 * (b % 4));
  }
  uint32_t numbers[16];
  for (int b = 0; b < 8; b++) {
    numbers[b] = b < 4 ? packed[b] & 63 : (packed[b + 4] & 15) | (packed[b - 4] >> 6) << 4;
    numbers[8 + b] = b < 4 ? packed[b + 4] & 63 : (packed[b + 4] >> 4) | (packed[b] >> 6) << 4;
  }
  uint32_t words[4] = {0};
  memcpy(words, source, 4);
  for (int i = 0; i < 15; i++) words[1 + i / 5] |= numbers[i] << (6 * (i % 5));
  for (int i = 0; i < 3; i++) words[1 + i] |= (numbers[15] >> (2 * i) & 3) << 30;
  memcpy(vector(chunk, has_bits ? 10 : 8, row), words, sizeof words);
}

// q6_K: [128 bytes of low nibbles][64 bytes of high pairs][16 int8 s][d]. Two halves of 128 weights: weight
// 32g + l takes its nibble from byte l + 32(g mod 2), low for g < 2, and its pair from bits 2g of byte l.
static void pack_q6(const uint8_t *source, int row, uint8_t *chunk) {
  for (int b = 0; b < 8; b++) {
    const uint8_t *low = source + b / 4 * 64 + b % 2 * 32;
    const uint8_t *high = source + 128 + b / 4 * 32;
    int group = b % 4;
    uint8_t q[32];
    for (int i = 0; i < 32; i++) {
      q[i] = (uint8_t)(((low[i] >> (group / 2 * 4)) & 15) | ((high[i] >> (2 * group)) & 3) << 4);
    }
    put_nibbles(q, vector(chunk, b, row));
    put_pairs(q, 4, vector(chunk, 8 + b / 2, row) + 8 * (b % 2));
  }
  memcpy(vector(chunk, 12, row), source + 192, 16);
  memcpy(chunk + 13 * PLANE + 2 * row, source + 208, 2);
}

// The pairs of q2_K and q3_K: two halves of 128 weights: weight 32g + l of one stands in bits 2g of byte l.
static void unpack_pairs(const uint8_t *pairs, int block, uint8_t q[32]) {
  for (int i = 0; i < 32; i++) q[i] = (pairs[block / 4 * 32 + i] >> (2 * (block % 4))) & 3;
}

// q2_K: [16 bytes: s low, m high, of 16 weights][64 bytes of pairs][d][dmin].
static void pack_q2(const uint8_t *source, int row, uint8_t *chunk) {
  for (int b = 0; b < 8; b++) {
    uint8_t q[32];
    unpack_pairs(source + 16, b, q);
    put_pairs(q, 0, vector(chunk, b / 2, row) + 8 * (b % 2));
  }
  memcpy(vector(chunk, 4, row), source, 16);
  memcpy(chunk + 5 * PLANE + 4 * row, source + 80, 4);
}

// q3_K: [32 bytes of high bits: bit b of byte l is of weight l of block b][64 bytes of pairs][12 bytes: 16
// six-bit s, 32 too large][d].
static void pack_q3(const uint8_t *source, int row, uint8_t *chunk) {
  for (int b = 0; b < 8; b++) {
    uint8_t q[32];
    unpack_pairs(source + 32, b, q);
    for (int i = 0; i < 32; i++) q[i] = (uint8_t)(q[i] | ((source[i] >> b) & 1) << 2);
    put_pairs(q, 0, vector(chunk, b / 2, row) + 8 * (b % 2));
    put_bits(q, 2, vector(chunk, 4 + b / 4, row) + 4 * (b % 4));
  }
  const uint8_t *packed = source + 96;
  for (int i = 0; i < 16; i++) {
    int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
    int high = (packed[8 + i % 4] >> (2 * (i / 4))) & 3;
    vector(chunk, 6, row)[i] = (uint8_t)((low | high << 4) - 32);
  }
  memcpy(chunk + 7 * PLANE + 2 * row, source + 108, 2);
}

// iq4_xs: [d][8 × 2 high bits of s][8 × 4 low bits of s][128 bytes: eight blocks of nibbles].
static void pack_iq4_xs(const uint8_t *source, int row, uint8_t *chunk) {
  for (int b = 0; b < 8; b++) memcpy(vector(chunk, b, row), source + 8 + 16 * b, 16);
  memcpy(chunk + 8 * PLANE + 8 * row, source, 8);
}

// Floats of `size` bytes.
static void pack_floats(const uint8_t *source, int64_t columns, int64_t size, int row,
                        uint8_t *chunk) {
  int64_t bytes = columns * size;
  for (int64_t first = 0; first < bytes; first += VECTOR) {
    int64_t count = bytes - first < VECTOR ? bytes - first : VECTOR;
    memcpy(vector(chunk, first / VECTOR, row), source + first, (size_t)count);
  }
}

static void pack_chunk(uint32_t type, const uint8_t *source, int64_t columns, int row,
                       uint8_t *chunk) {
  switch (type) {
    case F32: pack_floats(source, columns, 4, row, chunk); break;
    case F16:
    case BF16: pack_floats(source, columns, 2, row, chunk); break;
    case Q2_K: pack_q2(source, row, chunk); break;
    case Q3_K: pack_q3(source, row, chunk); break;
    case Q4_K: pack_q45(source, 0, row, chunk); break;
    case Q5_K: pack_q45(source, 1, row, chunk); break;
    case Q6_K: pack_q6(source, row, chunk); break;
    case IQ4_XS: pack_iq4_xs(source, row, chunk); break;
    default: pack_blocks(type, source, columns / 32, row, chunk); break;
  }
}

// The bytes that a file has of so many columns of a row; whole rows have no gaps.
static int64_t file_bytes(int64_t columns, int64_t all_columns, int64_t row_bytes) {
  return row_bytes * columns / all_columns;
}

void vulkan_pack(uint32_t type, const uint8_t *source, int64_t rows, int64_t columns, int64_t row_bytes,
                 uint8_t *packed) {
  int64_t tile_bytes = vulkan_tile_bytes(type, columns);
  int64_t whole = vulkan_chunk_bytes(type);
  for (int64_t tile = 0; tile * VULKAN_TILE_ROWS < rows; tile++) {
    uint8_t *out = packed + tile * tile_bytes;
    int64_t left = rows - tile * VULKAN_TILE_ROWS;
    memset(out, 0, (size_t)tile_bytes);
    for (int row = 0; row < VULKAN_TILE_ROWS && row < left; row++) {
      const uint8_t *from = source + (tile * VULKAN_TILE_ROWS + row) * row_bytes;
      for (int64_t first = 0; first < columns; first += VULKAN_CHUNK_COLUMNS) {
        int64_t count = columns - first;
        if (count > VULKAN_CHUNK_COLUMNS) count = VULKAN_CHUNK_COLUMNS;
        pack_chunk(type, from + file_bytes(first, columns, row_bytes), count, row,
                   out + first / VULKAN_CHUNK_COLUMNS * whole);
      }
    }
  }
}

// By columns, a tile has eight groups of sixteen rows. Its block of 32 columns is
//
//   [vector of lane 0 ... 15: d of rows lane, lane + 16, ..., lane + 112][column 0][column 1] ... [column 31]
//
// and a column a word of each lane: nibble g is of row lane + 16 g.
enum {
  COLUMN_LANES = 16,
  ROW_GROUPS = VULKAN_COLUMN_TILE_ROWS / COLUMN_LANES,
  COLUMN_BLOCK = COLUMN_LANES * VECTOR + 32 * COLUMN_LANES * 4,
  Q4_0_BYTES = 18,
};

int64_t vulkan_column_tile_bytes(int64_t columns) {
  return columns <= 0 || columns % 32 != 0 ? -1 : columns / 32 * COLUMN_BLOCK;
}

// Adds a row's block to a block of the tile.
static void add_row(const uint8_t *source, int row, uint8_t *block) {
  int lane = row % COLUMN_LANES;
  int group = row / COLUMN_LANES;
  memcpy(block + lane * VECTOR + 2 * group, source, 2);
  uint8_t *words = block + COLUMN_LANES * VECTOR;
  for (int column = 0; column < 32; column++) {
    int nibble = (source[2 + column % 16] >> (column / 16 * 4)) & 15;
    words[(column * COLUMN_LANES + lane) * 4 + group / 2] |= (uint8_t)(nibble << (group % 2 * 4));
  }
}

void vulkan_pack_columns(const uint8_t *source, int64_t rows, int64_t columns, int64_t row_bytes,
                         uint8_t *packed) {
  int64_t tiles = (rows + VULKAN_COLUMN_TILE_ROWS - 1) / VULKAN_COLUMN_TILE_ROWS;
  int64_t tile_bytes = vulkan_column_tile_bytes(columns);
  memset(packed, 0, (size_t)(tiles * tile_bytes));
  for (int64_t row = 0; row < rows; row++) {
    uint8_t *tile = packed + row / VULKAN_COLUMN_TILE_ROWS * tile_bytes;
    for (int64_t block = 0; block < columns / 32; block++) {
      add_row(source + row * row_bytes + block * Q4_0_BYTES, (int)(row % VULKAN_COLUMN_TILE_ROWS),
              tile + block * COLUMN_BLOCK);
    }
  }
}
