// Stored weights to f32, for the few rows a lookup needs: block by block, as each type's file
// decodes one.

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
