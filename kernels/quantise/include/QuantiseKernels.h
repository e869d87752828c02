// Encoders of weights: rows of f32 become rows of a stored type with little error, each squared
// error weighted by the importance of its column. Layouts: ggml/src/ggml-common.h in
// ggml-org/llama.cpp.
#ifndef QUANTISE_KERNELS_H
#define QUANTISE_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

// Every stored type: name, number in GGUF (ggml_type), values in a block, bytes of a block.
#define QUANTISE_TYPES(X)    \
  X(f32, 0, 1, 4)            \
  X(f16, 1, 1, 2)            \
  X(q4_0, 2, 32, 18)         \
  X(q4_1, 3, 32, 20)         \
  X(q5_0, 6, 32, 22)         \
  X(q5_1, 7, 32, 24)         \
  X(q8_0, 8, 32, 34)         \
  X(q2_K, 10, 256, 84)       \
  X(q3_K, 11, 256, 110)      \
  X(q4_K, 12, 256, 144)      \
  X(q5_K, 13, 256, 176)      \
  X(q6_K, 14, 256, 210)      \
  X(iq4_nl, 20, 32, 18)      \
  X(iq4_xs, 23, 256, 136)    \
  X(bf16, 30, 1, 2)

#define QUANTISE_TYPE_NUMBER(name, number, columns, bytes) QUANTISE_##name = number,
typedef enum { QUANTISE_TYPES(QUANTISE_TYPE_NUMBER) } quantise_type;
#undef QUANTISE_TYPE_NUMBER

// The instruction sets the encoders are compiled for. All of them write the same bytes.
typedef enum { QUANTISE_SCALAR, QUANTISE_AVX2, QUANTISE_AVX512 } quantise_isa;

// Returns the bytes of a row, or -1 if the type is unknown or `columns` is not whole blocks.
int64_t quantise_row_bytes(int32_t type, int64_t columns);

// Encodes `rows` rows of `columns` values into `output`, rows · quantise_row_bytes(type, columns)
// bytes. `importance` has a weight >= 0 for each column (the mean square of the inputs that the
// column is multiplied with); NULL means 1 for all.
//
// Returns the sum of importance · (value - decoded)², with decoded as dequantize_row_* of
// ggml/src/ggml-quants.c computes it. It is
//
//   NaN        if a value or importance is not finite, an importance is negative, or the type or
//              `columns` is refused; then `output` is not complete
//   infinity   if f16 or bf16 cannot hold a value (f16 from 65520 on); it is stored as infinity
//
// Values too large for the scales of a block type are cut to the largest it can hold, and by a type
// with minima to f16's largest at least; from about 1e30 on they may become 0. A block whose
// importances are all 0 is encoded as if all were 1. Safe to call from several threads.
double quantise_rows(int32_t type, const float *values, int64_t rows, int64_t columns,
                     const float *importance, uint8_t *output);

// The same with a given instruction set; NaN if this machine lacks it.
double quantise_rows_with(quantise_isa isa, int32_t type, const float *values, int64_t rows,
                          int64_t columns, const float *importance, uint8_t *output);

// Returns whether this machine has an instruction set.
bool quantise_has(quantise_isa isa);

#endif
