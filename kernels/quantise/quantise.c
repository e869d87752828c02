// Chooses the encoders that this machine can run, and encodes row by row.
#include <math.h>
#include <stddef.h>

#include "isa.h"

bool quantise_has(quantise_isa isa) {
  switch (isa) {
    case QUANTISE_SCALAR:
      return true;
#if defined(__x86_64__)
    case QUANTISE_AVX2:
      return __builtin_cpu_supports("avx2");
    case QUANTISE_AVX512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
    default:
      return false;
  }
}

static const row_encoders *encoders_for(quantise_isa isa) {
  if (!quantise_has(isa)) return NULL;
  switch (isa) {
#if defined(__x86_64__)
    case QUANTISE_AVX2:
      return &row_encoders_avx2;
    case QUANTISE_AVX512:
      return &row_encoders_avx512;
#endif
    default:
      return &row_encoders_scalar;
  }
}

int64_t quantise_row_bytes(int32_t type, int64_t columns) {
  switch (type) {
#define ROW_BYTES(name, number, length, bytes) \
  case number:                                 \
    return columns >= 0 && columns % length == 0 ? columns / length * bytes : -1;
    QUANTISE_TYPES(ROW_BYTES)
#undef ROW_BYTES
    default:
      return -1;
  }
}

double quantise_rows_with(quantise_isa isa, int32_t type, const float *values, int64_t rows,
                          int64_t columns, const float *importance, uint8_t *output) {
  const row_encoders *encoders = encoders_for(isa);
  int64_t row_bytes = quantise_row_bytes(type, columns);
  if (!encoders || row_bytes < 0) return NAN;
  double sum = 0;
  for (int64_t row = 0; row < rows; row++) {
    sum += encoders->encode[type](values + row * columns, columns, importance,
                                  output + row * row_bytes);
    if (isnan(sum)) return sum;
  }
  return sum;
}

double quantise_rows(int32_t type, const float *values, int64_t rows, int64_t columns,
                     const float *importance, uint8_t *output) {
  quantise_isa best = QUANTISE_SCALAR;
  if (quantise_has(QUANTISE_AVX2)) best = QUANTISE_AVX2;
  if (quantise_has(QUANTISE_AVX512)) best = QUANTISE_AVX512;
  return quantise_rows_with(best, type, values, rows, columns, importance, output);
}
