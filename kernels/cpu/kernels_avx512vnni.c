// The kernels for AVX-512 with VNNI: Zen 4, Ice Lake servers and later.
#include <math.h>
#include <string.h>

#include "isa.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define CPU_THIS_ISA CPU_ISA_AVX512VNNI

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,f16c"))), \
    apply_to = function)
#include "families.h"
#pragma clang attribute pop

const cpu_kernels cpu_kernels_avx512vnni = KERNEL_TABLE;
#endif
