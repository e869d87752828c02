// The operands of kernels: planes of row buffers, weights, activations as int8, KV caches. For
// operands with several parts, cpu_..._bytes returns how much memory they take, and cpu_..._at
// places the parts in it.
#ifndef CPU_OPERANDS_H
#define CPU_OPERANDS_H

#include <stdint.h>

#include "CPUTypes.h"

// One [rows, width] plane of a row buffer [planes, rows, width] f32.
typedef struct {
  float *base;
  int64_t width;
  int32_t plane;
  int32_t row_set;
} cpu_plane;

// A weight, [rows, columns]: as it is in the model file, or packed for products (packed.h).
typedef struct {
  const uint8_t *bytes;
  int64_t rows;
  int64_t columns;
  int64_t row_bytes;
  cpu_type type;
} cpu_matrix;

// How many values of a row of activations share a scale. The length of a block of weights is a
// multiple of it.
enum { CPU_BLOCK = 32 };

// Activations as int8: x = quants · scale, with one scale for CPU_BLOCK values. Whole groups of
// eight rows are stored block by block, [rows / 8, blocks, 8, ...], so that a product of eight rows
// reads sequentially; the rows left over are stored row by row, [rows, blocks, ...].
typedef struct {
  int8_t *quants;      // 32 a block, -127...127
  float *scales;       // one a block
  float *sums;         // one a block: scale · the sum of the quants
  int32_t *eights;     // one a block: -8 · the sum of the quants
  int32_t *halves;     // two a block: -32 · the sum of 16 quants
  int64_t width;
} cpu_quantised;

// Returns the bytes of the int8 copy of `rows` rows of `width` values, which must be whole blocks;
// -1 if the number overflows.
int64_t cpu_quantised_bytes(int64_t rows, int64_t width);

// Returns the int8 copy with its planes one after the other in memory of that size, aligned to 4.
cpu_quantised cpu_quantised_at(void *memory, int64_t rows, int64_t width);

// Rows as int8 with one scale for each: quants · scale = the row, rotated (hadamard.h).
typedef struct {
  int8_t *quants;  // [rows, pitch], -127...127; bytes beyond a row's width are anything
  float *scales;   // [rows]; infinite or NaN for a row that has such a value
  int64_t pitch;   // bytes from row to row
} cpu_row_quants;

// A weight of int8, rotated along the depth as rows are (hadamard.h), packed as an array of cores
// reads it (array_i8.h): strips of 64 columns of the product, dealt to `side` columns of cores in
// turn, each with `passes` of them; in a strip, steps of 64 of the depth. The depth is divided into
// parts, each with sums of its own. A strip of one part is 4096 · part_steps[part] bytes, and zero
// where the weight has nothing.
typedef struct {
  const int8_t *packed;
  int64_t columns;  // of the product
  int64_t passes;
  int64_t side;
  int64_t part_count;
  const int64_t *part_steps;  // [part_count]
} cpu_array_weight;

// The columns of each row that are not zero, ascending.
typedef struct {
  int32_t *counts;   // [rows]
  int32_t *indices;  // [rows, stride]
  int64_t stride;
} cpu_selected;

// Returns the bytes of the lists of `rows` rows of `width` columns; -1 if the number overflows.
int64_t cpu_selected_bytes(int64_t rows, int64_t width);

// Returns the lists, one after the other in memory of that size, aligned to 4.
cpu_selected cpu_selected_at(void *memory, int64_t rows, int64_t width);

// The rotations of each row's heads: pairs (i, i + half) are rotated by an angle for each i.
typedef struct {
  float *cosines;  // [rows, half]
  float *sines;    // [rows, half]
} cpu_rotations;

// Returns the bytes of the rotations of `rows` rows; -1 if the number overflows.
int64_t cpu_rotations_bytes(int64_t rows, int64_t half);

// Returns the rotations, one after the other in memory of that size, aligned to 4.
cpu_rotations cpu_rotations_at(void *memory, int64_t rows, int64_t half);

// An RMS norm: x / sqrt(mean(x²) + epsilon) · gain.
typedef struct {
  const float *gain;  // [width], NULL for none
  float epsilon;
} cpu_norm;

// The element types of a KV cache.
typedef enum { CPU_CACHE_F32, CPU_CACHE_F16, CPU_CACHE_Q8_0 } cpu_cache_type;

// Keys and values of one layer: [slots, kv_heads, capacity] rows of head_dim each. Position p is
// stored at p mod capacity.
typedef struct {
  uint8_t *keys;
  uint8_t *values;
  cpu_cache_type type;
  int64_t slot_bytes;  // from slot to slot
  int64_t row_bytes;   // cpu_cache_row_bytes
  int64_t capacity;    // positions
  int64_t window;       // how many positions a row sees, its own included
  int64_t kv_heads;
  int64_t head_dim;
} cpu_cache;

#endif
