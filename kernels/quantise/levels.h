// The levels a weight's quant can take: consecutive integers, or the entries of a table.

typedef struct {
  float low, high;
  bool is_table;
} levels;

#define INTEGERS(low, high) ((levels){low, high, false})
#define IQ4_LEVELS ((levels){-127, 113, true})

// kvalues_iq4nl of ggml-common.h, and the middles between them.
#define IQ4_VALUES -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
#define IQ4_MIDDLES                                                                           \
  -115.5f, -93.5f, -74.0f, -57.0f, -42.0f, -28.5f, -16.0f, -4.5f, 7.0f, 19.0f, 31.5f, 45.5f, \
      61.0f, 79.0f, 101.0f

#if QUANTISE_THIS_ISA != QUANTISE_ISA_SCALAR
// Returns entry `index` of the table.
static INLINE f32x16 look_up(f32x16 table, i32x16 index) {
#if QUANTISE_THIS_ISA == QUANTISE_ISA_AVX512
  return (f32x16)_mm512_permutexvar_ps((__m512i)index, (__m512)table);
#else
  union {
    f32x16 whole;
    __m256 halves[2];
  } entries = {table}, result;
  union {
    i32x16 whole;
    __m256i halves[2];
  } at = {index};
#pragma clang loop unroll(full)
  for (int i = 0; i < 2; i++) {
    __m256 low = _mm256_permutevar8x32_ps(entries.halves[0], at.halves[i]);
    __m256 high = _mm256_permutevar8x32_ps(entries.halves[1], at.halves[i]);
    __m256 is_high = _mm256_castsi256_ps(_mm256_slli_epi32(at.halves[i], 28));
    result.halves[i] = _mm256_blendv_ps(low, high, is_high);
  }
  return result.whole;
#endif
}
#endif

// Returns the index of the entry next to each value.
static INLINE i32x16 nearest_entry(f32x16 x) {
#if QUANTISE_THIS_ISA == QUANTISE_ISA_SCALAR
  static const float middles[] = {IQ4_MIDDLES};
  i32x16 index = {0};
#pragma clang loop unroll(full)
  for (int i = 0; i < 15; i++) index -= x > middles[i];
  return index;
#else
  const f32x16 middles = {IQ4_MIDDLES};
  i32x16 index = (x > middles[7]) & 8;
  index += (x > look_up(middles, index + 3)) & 4;
  index += (x > look_up(middles, index + 1)) & 2;
  index += (x > look_up(middles, index)) & 1;
  return index;
#endif
}

// Returns the level next to each value.
static INLINE f32x16 nearest_level(f32x16 x, levels set) {
  if (!set.is_table) return clamp(rounded(x), set.low, set.high);
#if QUANTISE_THIS_ISA == QUANTISE_ISA_SCALAR
  static const float values[] = {IQ4_VALUES};
  static const float middles[] = {IQ4_MIDDLES};
  f32x16 level = splat(values[0]);
#pragma clang loop unroll(full)
  for (int i = 0; i < 15; i++) {
    level += (f32x16)((x > middles[i]) & (i32x16)splat(values[i + 1] - values[i]));
  }
  return level;
#else
  return look_up((f32x16){IQ4_VALUES}, nearest_entry(x));
#endif
}
