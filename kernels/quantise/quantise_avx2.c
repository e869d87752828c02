// The encoders for AVX2: x86-64 machines from 2013 on.
#include <math.h>
#include <string.h>

#include "isa.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define QUANTISE_THIS_ISA QUANTISE_ISA_AVX2

#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#include "families.h"
#pragma clang attribute pop

const row_encoders row_encoders_avx2 = ENCODER_TABLE;
#endif
