// The instruction sets the encoders are compiled for.
#ifndef QUANTISE_ISA_H
#define QUANTISE_ISA_H

#include "QuantiseKernels.h"

// For the preprocessor, which does not know quantise_isa.
#define QUANTISE_ISA_SCALAR 0
#define QUANTISE_ISA_AVX2 1
#define QUANTISE_ISA_AVX512 2
_Static_assert(QUANTISE_ISA_SCALAR == QUANTISE_SCALAR && QUANTISE_ISA_AVX2 == QUANTISE_AVX2 &&
                   QUANTISE_ISA_AVX512 == QUANTISE_AVX512,
               "both number the instruction sets alike");

// Encodes one row; see quantise_rows.
typedef double row_encoder(const float *values, int64_t columns, const float *importance,
                           uint8_t *output);

enum { QUANTISE_TYPE_LIMIT = 31 };

// The encoders of an instruction set, by the type's number.
typedef struct {
  row_encoder *encode[QUANTISE_TYPE_LIMIT];
} row_encoders;

extern const row_encoders row_encoders_scalar;
#if defined(__x86_64__)
extern const row_encoders row_encoders_avx2;
extern const row_encoders row_encoders_avx512;
#endif

#endif
