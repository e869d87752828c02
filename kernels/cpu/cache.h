// The rows of a KV cache in each of its element types: what is kept, and how it is read back.
//
//   f32, f16  [head_dim values]
//   q8_0      [head_dim / 32 blocks of scale f16, 32 int8], w = q · scale, as in a model file

// IEEE 754 binary16 bits, rounded to nearest, half to even; beyond its range infinite.
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
  // Below 2⁻¹⁴ the sum with 0.5 rounds to f16's smallest step, and leaves the count of steps in the
  // low bits.
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

static INLINE void keep_f16(const float *values, int64_t count, uint8_t *row) {
  for (int64_t i = 0; i < count; i += LANES) {
    int64_t left = count - i;
    u16x16 halves = narrow_f16(load_part(values + i, left));
    memcpy(row + 2 * i, &halves, 2 * (size_t)(left < LANES ? left : LANES));
  }
}

static INLINE void keep_q8_0(const float *values, int64_t count, uint8_t *row) {
  for (int64_t i = 0; i < count; i += 32, row += 34) {
    f32x16 low = load(values + i);
    f32x16 high = load(values + i + 16);
    block_scale scale = scale_of_block(low, high);
    uint16_t bits = half_bits(scale.scale);
    memcpy(row, &bits, sizeof bits);
    quantise_half(low, scale.inverse, (int8_t *)row + 2);
    quantise_half(high, scale.inverse, (int8_t *)row + 18);
  }
}

static INLINE void keep_row(cpu_cache_type type, const float *values, int64_t count,
                            uint8_t *row) {
  switch (type) {
    case CPU_CACHE_F32:
      memcpy(row, values, (size_t)count * sizeof(float));
      return;
    case CPU_CACHE_F16:
      keep_f16(values, count, row);
      return;
    case CPU_CACHE_Q8_0:
      keep_q8_0(values, count, row);
      return;
  }
}

// Values i ..< i + 16 of a row, those beyond `left` 0.
static INLINE f32x16 kept_lanes(cpu_cache_type type, const uint8_t *row, int64_t i, int64_t left) {
  if (type == CPU_CACHE_F32) return load_part((const float *)row + i, left);
  if (type == CPU_CACHE_F16) return widen_f16(row, i, left);
  const uint8_t *block = row + i / 32 * 34;
  i8x16 quants;
  memcpy(&quants, block + 2 + i % 32, sizeof quants);
  return __builtin_convertvector(__builtin_convertvector(quants, i32x16), f32x16) *
         half_value(block);
}
