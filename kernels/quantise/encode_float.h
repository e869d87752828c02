// Types without blocks: f32, f16, bf16.

static double encode_f32(const float *values, int64_t columns, const float *importance,
                         uint8_t *output) {
  if (!row_is_valid(values, columns, importance)) return NAN;
  memcpy(output, values, (size_t)columns * sizeof(float));
  return 0;
}

// Encodes to 16 bits, rounded to nearest, half to even.
static INLINE double encode_words(const float *values, int64_t columns, const float *importance,
                                  bool is_bf16, uint8_t *output) {
  if (!row_is_valid(values, columns, importance)) return NAN;
  f64x16 sum = {0};
  bool overflows = false;
  for (int64_t i = 0; i < columns; i += LANES) {
    size_t count = (size_t)(columns - i < LANES ? columns - i : LANES);
    float x[LANES] = {0}, w[LANES] = {0};
    memcpy(x, values + i, count * sizeof(float));
    if (importance) memcpy(w, importance + i, count * sizeof(float));
    u32x16 words, infinite;
    f32x16 decoded;
    if (is_bf16) {
      u32x16 bits = (u32x16)load(x);
      words = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
      infinite = (u32x16)((words & 0x7FFFu) == 0x7F80u);
      decoded = (f32x16)((words & ~infinite) << 16);
    } else {
      words = narrow(load(x));
      infinite = (u32x16)((words & 0x7FFFu) == 0x7C00u);
      decoded = widen_finite(words & ~infinite);
    }
    u16x16 stored = __builtin_convertvector(words, u16x16);
    memcpy(output + 2 * i, &stored, count * 2);
    for (int lane = 0; lane < LANES; lane++) overflows |= infinite[lane] != 0;
    sum += weighted_errors(x, importance ? w : NULL, decoded);
  }
  return overflows ? (double)INFINITY : sum_doubles(sum);
}

static double encode_f16(const float *values, int64_t columns, const float *importance,
                         uint8_t *output) {
  return encode_words(values, columns, importance, false, output);
}

static double encode_bf16(const float *values, int64_t columns, const float *importance,
                          uint8_t *output) {
  return encode_words(values, columns, importance, true, output);
}
