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

int64_t cpu_packed_rows(int64_t rows) { return (rows + 15) / 16 * 16; }

// Scores of four heads.
int64_t cpu_attend_scratch(int64_t positions) { return 4 * ((positions + 15) / 16 * 16) * 4; }
