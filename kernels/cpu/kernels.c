// Chooses the kernels that this machine can run.
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

cpu_kernel cpu_matmul(const cpu_kernels *kernels, cpu_type type) {
  return (uint32_t)type < CPU_TYPE_LIMIT ? kernels->matmul[type] : NULL;
}

cpu_kernel cpu_scale_selected(const cpu_kernels *kernels, cpu_type type) {
  return (uint32_t)type < CPU_TYPE_LIMIT ? kernels->scale_selected[type] : NULL;
}
