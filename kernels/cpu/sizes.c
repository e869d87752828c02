// How much memory operands and kernels take, and where their parts are in it.
#include "sizes.h"

#include <stddef.h>

#include "CPUKernels.h"
#include "types.h"

static int64_t round_up(int64_t count, int64_t unit) { return (count + unit - 1) / unit * unit; }

// Returns the product of three sizes, or -1 if it overflows.
static int64_t product(int64_t a, int64_t b, int64_t c) {
  int64_t two, three;
  if (a < 0 || b < 0 || c < 0) return -1;
  if (__builtin_mul_overflow(a, b, &two) || __builtin_mul_overflow(two, c, &three)) return -1;
  return three;
}

cpu_type_row cpu_type_row_of(cpu_type type) { return type_row(type); }

int32_t cpu_type_count(void) {
#define ONE(name, number, columns, bytes) +1
  return CPU_TYPES(ONE, ONE);
#undef ONE
}

// --- Operands ------------------------------------------------------------------------------------

// The bytes of one block of activations in all planes of cpu_quantised.
enum {
  QUANTISED_BLOCK_BYTES = CPU_BLOCK * sizeof *((cpu_quantised *)0)->quants +
                          sizeof *((cpu_quantised *)0)->scales +
                          sizeof *((cpu_quantised *)0)->sums +
                          sizeof *((cpu_quantised *)0)->eights +
                          2 * sizeof *((cpu_quantised *)0)->halves,
};
_Static_assert(CPU_BLOCK % sizeof(float) == 0, "what stands behind whole blocks is aligned");

int64_t cpu_quantised_bytes(int64_t rows, int64_t width) {
  return product(rows, width / CPU_BLOCK, QUANTISED_BLOCK_BYTES);
}

cpu_quantised cpu_quantised_at(void *memory, int64_t rows, int64_t width) {
  int64_t blocks = rows * (width / CPU_BLOCK);
  cpu_quantised copy = {.quants = memory, .width = width};
  copy.scales = (float *)(copy.quants + blocks * CPU_BLOCK);
  copy.sums = copy.scales + blocks;
  copy.eights = (int32_t *)(copy.sums + blocks);
  copy.halves = copy.eights + blocks;
  return copy;
}

// A row's list has room for all its columns and one more, because the kernel writes an index before
// it knows whether the column is selected (select_row of sparse.h).
int64_t cpu_selected_bytes(int64_t rows, int64_t width) {
  int64_t count_and_list;
  if (__builtin_add_overflow(width, 2, &count_and_list)) return -1;
  return product(rows, count_and_list, sizeof(int32_t));
}

cpu_selected cpu_selected_at(void *memory, int64_t rows, int64_t width) {
  int32_t *counts = memory;
  return (cpu_selected){.counts = counts, .indices = counts + rows, .stride = width + 1};
}

int64_t cpu_rotations_bytes(int64_t rows, int64_t half) {
  return product(rows, half, 2 * sizeof(float));
}

cpu_rotations cpu_rotations_at(void *memory, int64_t rows, int64_t half) {
  float *cosines = memory;
  return (cpu_rotations){.cosines = cosines, .sines = cosines + rows * half};
}

int64_t cpu_cache_row_bytes(cpu_cache_type type, int64_t head_dim) {
  switch (type) {
    case CPU_CACHE_F32:
      return head_dim * BYTES_f32;
    case CPU_CACHE_F16:
      return head_dim * BYTES_f16;
    case CPU_CACHE_Q8_0:
      return head_dim % COLUMNS_q8_0 == 0 ? head_dim / COLUMNS_q8_0 * BYTES_q8_0 : 0;
  }
  return 0;
}

// --- Packed weights ------------------------------------------------------------------------------

int64_t cpu_packed_rows(int64_t rows) { return round_up(rows, TILE_ROWS); }

// Float rows are padded to whole vectors.
int64_t cpu_packed_row_bytes(const cpu_matrix *weight) {
  cpu_type_row type = type_row(weight->type);
  return type.is_quantised ? weight->row_bytes : round_up(weight->columns, LANES) * type.bytes;
}

int64_t cpu_column_rows(int64_t rows) { return round_up(rows, COLUMN_ROWS); }

// --- Scratch -------------------------------------------------------------------------------------

// A decoded tile has vectors of at most 64 bytes for each 32 columns.
int64_t cpu_matmul_scratch(int64_t columns) {
  if (columns > DECODED_COLUMNS) return 0;
  return (columns + 31) / 32 * DECODED_VECTORS * TILE_ROWS * (int64_t)sizeof(float);
}

// The sums of a group of rows.
int64_t cpu_columns_scratch(int64_t rows) {
  return COLUMN_GROUP * cpu_column_rows(rows) * (int64_t)sizeof(float);
}

int64_t attend_score_stride(int64_t positions) { return round_up(positions, LANES); }

static int64_t scores_of_row(int64_t positions) {
  return HEADS_TOGETHER * attend_score_stride(positions) * (int64_t)sizeof(float);
}

// Scores are written and read once each, so they need not stay in a near cache.
int64_t attend_rows_together(int64_t positions) {
  enum { SCORES_BYTES = 4 << 20 };
  int64_t rows = SCORES_BYTES / scores_of_row(positions);
  return rows < 1 ? 1 : rows > SLOT_ROWS_TOGETHER ? SLOT_ROWS_TOGETHER : rows;
}

// 8192 values: as f16, they stay in the first cache beside eight heads' queries or sums of 512.
int64_t attend_block(int64_t head_dim) {
  int64_t positions = 8192 / head_dim;
  return positions < 4 ? 4 : positions - positions % 4;
}

// A block of decoded keys or values, and the scores of the rows that are processed together.
int64_t cpu_attend_scratch(const cpu_cache *cache) {
  int64_t decoded = attend_block(cache->head_dim) * cache->head_dim * (int64_t)sizeof(float);
  return round_up(decoded, 64) + attend_rows_together(cache->window) * scores_of_row(cache->window);
}
