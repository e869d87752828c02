// Which kernels this machine can run, and what scratch they need.
#include <stddef.h>

#include "isa.h"

const cpu_kernels *cpu_kernels_for(cpu_isa isa) {
  switch (isa) {
    case CPU_SCALAR:
      return &cpu_kernels_scalar;
#if defined(__x86_64__)
    case CPU_AVX2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") ? &cpu_kernels_avx2
                                                                              : NULL;
    case CPU_AVX512VNNI:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("f16c")
                 ? &cpu_kernels_avx512vnni
                 : NULL;
#endif
    default:
      return NULL;
  }
}

cpu_kernel cpu_matmul(const cpu_kernels *kernels, cpu_type type) { return kernels->matmul[type]; }

cpu_kernel cpu_scale_selected(const cpu_kernels *kernels, cpu_type type) {
  return kernels->scale_selected[type];
}

int64_t cpu_packed_rows(int64_t rows) {
  return (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
}

// Float rows are filled up to sixteen columns.
int64_t cpu_packed_row_bytes(const cpu_matrix *weight) {
  bool is_float = weight->type == CPU_F32 || weight->type == CPU_F16 || weight->type == CPU_BF16;
  if (!is_float) return weight->row_bytes;
  return (weight->columns + 15) / 16 * 16 * (weight->row_bytes / weight->columns);
}

int64_t cpu_column_rows(int64_t rows) {
  return (rows + COLUMN_ROWS - 1) / COLUMN_ROWS * COLUMN_ROWS;
}

// A decoded tile: vectors of 64 bytes at most for 32 columns.
int64_t cpu_matmul_scratch(int64_t columns) {
  return columns <= DECODED_COLUMNS ? (columns + 31) / 32 * DECODED_VECTORS * TILE_ROWS * 4 : 0;
}

// Sums of a group.
int64_t cpu_columns_scratch(int64_t rows) { return COLUMN_GROUP * cpu_column_rows(rows) * 4; }

int64_t cpu_cache_row_bytes(cpu_cache_type type, int64_t head_dim) {
  switch (type) {
    case CPU_CACHE_F32: return head_dim * 4;
    case CPU_CACHE_F16: return head_dim * 2;
    case CPU_CACHE_Q8_0: return head_dim % 32 == 0 ? head_dim / 32 * 34 : 0;
  }
  return 0;
}

// Scores of four heads.
int64_t cpu_attend_scratch(int64_t positions) { return 4 * ((positions + 15) / 16 * 16) * 4; }
