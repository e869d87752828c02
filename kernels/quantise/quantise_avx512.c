// The encoders for AVX-512: Zen 4, Skylake servers and later.
#include <math.h>
#include <string.h>

#include "isa.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define QUANTISE_THIS_ISA QUANTISE_ISA_AVX512

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2"))), apply_to = function)
#include "families.h"
#pragma clang attribute pop

const row_encoders row_encoders_avx512 = ENCODER_TABLE;
#endif
