// Packs weights for the shaders. A tile has sixteen rows; its columns are divided into chunks of 256, the
// last of which may be smaller. A chunk consists of planes; a plane has 16 bytes of each row, row after row,
// so that adjacent lanes, which have adjacent rows, read adjacent bytes:
//
//   chunk   [plane 0: row 0 ... row 15][plane 1: row 0 ... row 15] ... [rest]
//
// The rest, which some types have, is smaller than a plane and has a few bytes of each row. What each type's
// planes are is said in its shader, matmul_<type>_*.comp, which reads what is written here. A block has 32
// weights. Bits are arranged so that a shader gets four weights in the bytes of a word with few instructions.
// Weights 4k to 4k + 3 are group k, of which each byte of a word has one. These are the bits of the bytes of
// words A, B and so on, the highest first:
//
//   twos     A [group 3][group 2][group 1][group 0]
//            B [group 7][group 6][group 5][group 4]
//   threes   A [group 6: upper 2][group 1][group 0]
//            B [group 7: upper 2][group 3][group 2]
//            C [group 7: lowest][group 6: lowest][group 5][group 4]
//   nibbles  A [group 4][group 0]
//            B [group 5][group 1]
//            C [group 6][group 2]
//            D [group 7][group 3]
//   fives    A [group 5: upper 3][group 0]
//            B [group 5: lower 2][group 7: second lowest][group 1]
//            C [group 6: upper 3][group 2]
//            D [group 6: lower 2][group 7: lowest][group 3]
//            E [group 7: upper 3][group 4]
//   sixes    A [group 3: upper 2][group 0]      D [group 7: upper 2][group 4]
//            B [group 3: middle 2][group 1]     E [group 7: middle 2][group 5]
//            C [group 3: lower 2][group 2]      F [group 7: lower 2][group 6]
//
// Steps, which are looked up two at a time, have other nibbles: byte j has weight 2j low, weight 2j + 1 high.
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

// The planes of single words that so many blocks have.
static int64_t word_planes(int64_t blocks) { return (blocks + 3) / 4; }

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
    case Q5_0: return PLANE * (blocks + word_planes(blocks) + 1);
    case Q5_1: return PLANE * (blocks + word_planes(blocks) + 2);
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
  for (int i = 0; i < 16; i++) out[i] = (uint8_t)(q[i] | q[i + 16] << 4);
}

static void put_twos(const uint8_t q[32], uint8_t *a_b) {
  for (int i = 0; i < 4; i++) {
    const uint8_t *w = q + i;
    a_b[i] = (uint8_t)(w[0] | w[4] << 2 | w[8] << 4 | w[12] << 6);
    a_b[4 + i] = (uint8_t)(w[16] | w[20] << 2 | w[24] << 4 | w[28] << 6);
  }
}

static void put_threes(const uint8_t q[32], uint8_t *a_b, uint8_t *c) {
  for (int i = 0; i < 4; i++) {
    const uint8_t *w = q + i;
    a_b[i] = (uint8_t)(w[0] | w[4] << 3 | (w[24] >> 1) << 6);
    a_b[4 + i] = (uint8_t)(w[8] | w[12] << 3 | (w[28] >> 1) << 6);
    c[i] = (uint8_t)(w[16] | w[20] << 3 | (w[24] & 1) << 6 | (w[28] & 1) << 7);
  }
}

static void put_fives(const uint8_t q[32], uint8_t *a_to_d, uint8_t *e) {
  for (int i = 0; i < 4; i++) {
    const uint8_t *w = q + i;
    a_to_d[i] = (uint8_t)(w[0] | (w[20] >> 2) << 5);
    a_to_d[4 + i] = (uint8_t)(w[4] | ((w[28] >> 1) & 1) << 5 | (w[20] & 3) << 6);
    a_to_d[8 + i] = (uint8_t)(w[8] | (w[24] >> 2) << 5);
    a_to_d[12 + i] = (uint8_t)(w[12] | (w[28] & 1) << 5 | (w[24] & 3) << 6);
    e[i] = (uint8_t)(w[16] | (w[28] >> 2) << 5);
  }
}

static void put_sixes(const uint8_t q[32], uint8_t *a_to_d, uint8_t *e_f) {
  for (int i = 0; i < 4; i++) {
    const uint8_t *w = q + i;
    a_to_d[i] = (uint8_t)(w[0] | (w[12] >> 4) << 6);
    a_to_d[4 + i] = (uint8_t)(w[4] | ((w[12] >> 2) & 3) << 6);
    a_to_d[8 + i] = (uint8_t)(w[8] | (w[12] & 3) << 6);
    a_to_d[12 + i] = (uint8_t)(w[16] | (w[28] >> 4) << 6);
    e_f[i] = (uint8_t)(w[20] | ((w[28] >> 2) & 3) << 6);
    e_f[4 + i] = (uint8_t)(w[24] | (w[28] & 3) << 6);
  }
}

// Nibbles as files have them: byte i has weight i low and weight i + 16 high.
static void unpack_nibbles(const uint8_t *file, uint8_t q[32]) {
  for (int i = 0; i < 32; i++) q[i] = (file[i % 16] >> (i / 16 * 4)) & 15;
}

// The nibbles that stand for steps, from a file.
static void put_steps(const uint8_t *file, uint8_t *out) {
  uint8_t q[32];
  unpack_nibbles(file, q);
  for (int i = 0; i < 16; i++) out[i] = (uint8_t)(q[2 * i] | q[2 * i + 1] << 4);
}

// Types with blocks of 32: [d][m, if any][high bits, if any][quants].
static void pack_blocks(uint32_t type, const uint8_t *source, int64_t blocks, int row,
                        uint8_t *chunk) {
  int has_minimum = type == Q4_1 || type == Q5_1;
  int has_bits = type == Q5_0 || type == Q5_1;
  int quant_bytes = type == Q8_0 ? 32 : 16;
  int64_t planes = blocks * quant_bytes / VECTOR;
  int64_t scales = planes + (has_bits ? word_planes(blocks) : 0);
  for (int64_t b = 0; b < blocks; b++) {
    const uint8_t *quants = source + 2 + 2 * has_minimum + 4 * has_bits;
    if (has_bits) {
      uint8_t q[32];
      unpack_nibbles(quants, q);
      for (int i = 0; i < 32; i++) q[i] |= (uint8_t)(((quants[i / 8 - 4] >> (i % 8)) & 1) << 4);
      put_fives(q, vector(chunk, b, row), vector(chunk, planes + b / 4, row) + 4 * (b % 4));
    } else if (type == IQ4_NL) {
      put_steps(quants, vector(chunk, b, row));
    } else {
      for (int part = 0; part < quant_bytes; part += VECTOR) {
        memcpy(vector(chunk, (b * quant_bytes + part) / VECTOR, row), quants + part, VECTOR);
      }
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
    if (has_bits) {
      put_fives(q, vector(chunk, b, row), vector(chunk, 8 + b / 4, row) + 4 * (b % 4));
    } else {
      put_nibbles(q, vector(chunk, b, row));
    }
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
    put_sixes(q, vector(chunk, b, row), vector(chunk, 8 + b / 2, row) + 8 * (b % 2));
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
    put_twos(q, vector(chunk, b / 2, row) + 8 * (b % 2));
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
    put_threes(q, vector(chunk, b / 2, row) + 8 * (b % 2),
               vector(chunk, 4 + b / 4, row) + 4 * (b % 4));
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
  for (int b = 0; b < 8; b++) put_steps(source + 8 + 16 * b, vector(chunk, b, row));
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
