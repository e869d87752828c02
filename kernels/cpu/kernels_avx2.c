// The kernels for AVX2 with F16C: x86-64 machines from 2013 on.
#include <math.h>
#include <string.h>

#include "isa.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define CPU_THIS_ISA CPU_ISA_AVX2

#pragma clang attribute push(__attribute__((target("avx2,f16c"))), apply_to = function)
#include "families.h"
#pragma clang attribute pop

const cpu_kernels cpu_kernels_avx2 = KERNEL_TABLE;
#endif
