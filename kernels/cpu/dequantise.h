// Converts stored weights to f32, block by block, with the decoder in each type's file. Lookups
// need it for a few rows.

static void dequantise(cpu_type type, const uint8_t *p, int64_t count, float *values) {
  switch (type) {
#define DEQUANTISE(name, number, columns, bytes)                         \
  case CPU_##name:                                                       \
    for (; count > 0; count -= columns, p += bytes, values += columns) { \
      dequantise_##name(p, values);                                      \
    }                                                                    \
    return;
    CPU_TYPES(DEQUANTISE, DEQUANTISE)
#undef DEQUANTISE
  }
}
