// Conversions between f16, bf16 and f32, of single values and of vectors.

// Converts IEEE 754 binary16 bits exactly. When the bits are shifted into place, the exponent is
// 112 too small, for normal and subnormal numbers alike. Infinities and NaN also need the other
// bits of the exponent set.
static INLINE float half_to_float(uint16_t bits) {
  uint32_t wide = (uint32_t)(bits & 0x7FFF) << 13;
  float value;
  memcpy(&value, &wide, sizeof value);
  value *= 0x1p112f;
  memcpy(&wide, &value, sizeof wide);
  if ((bits & 0x7C00) == 0x7C00) wide |= 0x7F800000u;
  wide |= (uint32_t)(bits & 0x8000) << 16;
  memcpy(&value, &wide, sizeof value);
  return value;
}

static INLINE float half_value(const uint8_t *p) {
  uint16_t bits;
  memcpy(&bits, p, sizeof bits);
  return half_to_float(bits);
}

// --- One value, as the table of types names them -------------------------------------------------

static INLINE void dequantise_f32(const uint8_t *stored, float *value) {
  memcpy(value, stored, sizeof *value);
}

static INLINE void dequantise_f16(const uint8_t *stored, float *value) {
  *value = half_value(stored);
}

static INLINE void dequantise_bf16(const uint8_t *stored, float *value) {
  uint16_t bits;
  memcpy(&bits, stored, sizeof bits);
  uint32_t wide = (uint32_t)bits << 16;
  memcpy(value, &wide, sizeof wide);
}

// --- Sixteen values of a row from `column` on, those beyond `left` 0 -----------------------------

static INLINE f32x16 widen_f32(const uint8_t *row, int64_t column, int64_t left) {
  return load_part((const float *)row + column, left);
}

static INLINE u16x16 load_words16(const uint8_t *row, int64_t column, int64_t left) {
  u16x16 v = {0};
  const uint8_t *p = row + 2 * column;
  memcpy(&v, p, left >= LANES ? sizeof v : 2 * (size_t)left);
  return v;
}

static INLINE f32x16 widen_bf16(const uint8_t *row, int64_t column, int64_t left) {
  u16x16 words = load_words16(row, column, left);
  return (f32x16)(__builtin_convertvector(words, u32x16) << 16);
}

static INLINE f32x16 widen_f16(const uint8_t *row, int64_t column, int64_t left) {
  u16x16 words = load_words16(row, column, left);
#if CPU_THIS_ISA == CPU_ISA_AVX512VNNI
  return (f32x16)_mm512_cvtph_ps((__m256i)words);
#elif CPU_THIS_ISA == CPU_ISA_AVX2
  __m256i both = (__m256i)words;
  union {
    __m256 halves[2];
    f32x16 whole;
  } wide;
  wide.halves[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(both));
  wide.halves[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(both, 1));
  return wide.whole;
#else
  u32x16 bits = __builtin_convertvector(words, u32x16);
  u32x16 special = (u32x16)((bits & 0x7C00u) == 0x7C00u) & 0x7F800000u;
  f32x16 value = (f32x16)((bits & 0x7FFFu) << 13) * 0x1p112f;
  return (f32x16)((u32x16)value | special | (bits & 0x8000u) << 16);
#endif
}

// --- To f16 --------------------------------------------------------------------------------------

// Converts to IEEE 754 binary16 bits, rounded to nearest, half to even; values beyond its range
// become infinite.
static INLINE u16x16 narrow_f16(f32x16 x) {
#if CPU_THIS_ISA == CPU_ISA_AVX512VNNI
  return (u16x16)_mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif CPU_THIS_ISA == CPU_ISA_AVX2
  union {
    f32x16 whole;
    __m256 halves[2];
  } wide = {x};
  enum { rounding = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
  return (u16x16)_mm256_set_m128i(_mm256_cvtps_ph(wide.halves[1], rounding),
                                  _mm256_cvtps_ph(wide.halves[0], rounding));
#else
  u32x16 bits = (u32x16)x;
  u32x16 sign = bits & 0x80000000u;
  u32x16 size = bits ^ sign;
  // For values below 2⁻¹⁴, adding 0.5 rounds to f16's smallest step and leaves the number of steps
  // in the low bits.
  u32x16 small = (u32x16)((f32x16)size + 0.5f) - 0x3F000000u;
  u32x16 normal = (size + 0xFFFu + ((size >> 13) & 1u) - 0x38000000u) >> 13;
  u32x16 special = 0x7C00u | ((u32x16)(size > 0x7F800000u) & (0x200u | (size >> 13 & 0x3FFu)));
  u32x16 is_small = (u32x16)(size < 0x38800000u);
  u32x16 is_large = (u32x16)(size >= 0x477FF000u);
  u32x16 result = (is_small & small) | (~is_small & ~is_large & normal) | (is_large & special);
  return __builtin_convertvector(result | sign >> 16, u16x16);
#endif
}

static INLINE uint16_t half_bits(float x) { return narrow_f16(splat(x))[0]; }
