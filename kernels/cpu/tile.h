// The operations that products with quantised weights need of an instruction set. A vector has one
// lane for each of TILE weight rows: lane r of vector j holds four consecutive weights of row r. So
// the four bytes of an activation are the same for all lanes, and no sum crosses lanes. load_turned
// transposes stored rows into this form:
//
//   memory, 16 bytes of each row           registers, one 4-byte word of each row
//   row 0   w0 w1 w2 w3                    out[0] = row 0 w0, row 1 w0, row 2 w0, ...
//   row 1   w0 w1 w2 w3          ->        out[1] = row 0 w1, row 1 w1, row 2 w1, ...
//   ...                                    ...
//
// dot_step adds the product of four weights and four activations to each lane's sum, which begins
// as DOT_BEGIN; dot_end adds that sum to an int32 total. DOT_STEPS(bits) is how many steps fit
// before dot_end must be called.
#ifndef CPU_TILE_H
#define CPU_TILE_H

#if CPU_THIS_ISA == CPU_ISA_AVX512VNNI
enum { TILE = 16 };
#elif CPU_THIS_ISA == CPU_ISA_AVX2
enum { TILE = 8 };
#else
enum { TILE = 4 };
#endif

typedef uint32_t tile_u32 __attribute__((vector_size(4 * TILE)));
typedef int32_t tile_i32 __attribute__((vector_size(4 * TILE)));
typedef float tile_f32 __attribute__((vector_size(4 * TILE)));

#if CPU_THIS_ISA == CPU_ISA_AVX512VNNI

static INLINE __m512i every_fourth(const uint8_t *const *rows, int64_t offset) {
  __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(rows[0] + offset)));
  v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(rows[4] + offset)), 1);
  v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(rows[8] + offset)), 2);
  return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(rows[12] + offset)), 3);
}

static INLINE void load_turned(const uint8_t *const *rows, int64_t offset, tile_u32 out[4]) {
  __m512i a = every_fourth(rows, offset);
  __m512i b = every_fourth(rows + 1, offset);
  __m512i c = every_fourth(rows + 2, offset);
  __m512i d = every_fourth(rows + 3, offset);
  __m512i ab_low = _mm512_unpacklo_epi32(a, b);
  __m512i ab_high = _mm512_unpackhi_epi32(a, b);
  __m512i cd_low = _mm512_unpacklo_epi32(c, d);
  __m512i cd_high = _mm512_unpackhi_epi32(c, d);
  out[0] = (tile_u32)_mm512_unpacklo_epi64(ab_low, cd_low);
  out[1] = (tile_u32)_mm512_unpackhi_epi64(ab_low, cd_low);
  out[2] = (tile_u32)_mm512_unpacklo_epi64(ab_high, cd_high);
  out[3] = (tile_u32)_mm512_unpackhi_epi64(ab_high, cd_high);
}

// Converts the f16 in the low half of each lane.
static INLINE tile_f32 halves_to_floats(tile_u32 bits) {
  return (tile_f32)_mm512_cvtph_ps(_mm512_cvtepi32_epi16((__m512i)bits));
}

// Loads TILE consecutive f16.
static INLINE tile_f32 load_halves(const uint8_t *p) {
  return (tile_f32)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

// Bits 4j ..< 4j + 4 of each lane as bit 4 of its four bytes.
static INLINE tile_u32 spread_bits(tile_u32 bits, int j) {
  __m512i bytes = _mm512_shuffle_epi8(
      (__m512i)bits,
      _mm512_add_epi8(_mm512_set4_epi32(0x0C0C0C0C, 0x08080808, 0x04040404, 0),
                      _mm512_set1_epi8((char)(j / 2))));
  __m512i place = _mm512_set1_epi32(j % 2 == 0 ? 0x08040201 : (int)0x80402010);
  __mmask64 set = _mm512_test_epi8_mask(bytes, place);
  return (tile_u32)_mm512_maskz_set1_epi8(set, 16);
}

// Looks up each byte of each lane, which must be below 16, in a table of sixteen bytes.
static INLINE tile_u32 bytes_of_table(const uint8_t table[16], tile_u32 indices) {
  __m512i bytes = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)table));
  return (tile_u32)_mm512_shuffle_epi8(bytes, (__m512i)indices);
}

// dpbusd multiplies unsigned weights, so 128 is added to weights of eight bits.
#define Q8_OFFSET 128
#define DOT_STEPS(bits) 4

static INLINE tile_i32 dot_step(tile_i32 sum, tile_u32 weights, const int8_t *x, int bits) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return (tile_i32)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)weights, _mm512_set1_epi32(four));
}

#define DOT_BEGIN(total) (total)
static INLINE tile_i32 dot_end(tile_i32 total, tile_i32 sum, int bits) { return sum; }

#elif CPU_THIS_ISA == CPU_ISA_AVX2

static INLINE __m256i every_fourth(const uint8_t *const *rows, int64_t offset) {
  __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(rows[0] + offset)));
  return _mm256_inserti128_si256(v, _mm_loadu_si128((const __m128i *)(rows[4] + offset)), 1);
}

static INLINE void load_turned(const uint8_t *const *rows, int64_t offset, tile_u32 out[4]) {
  __m256i a = every_fourth(rows, offset);
  __m256i b = every_fourth(rows + 1, offset);
  __m256i c = every_fourth(rows + 2, offset);
  __m256i d = every_fourth(rows + 3, offset);
  __m256i ab_low = _mm256_unpacklo_epi32(a, b);
  __m256i ab_high = _mm256_unpackhi_epi32(a, b);
  __m256i cd_low = _mm256_unpacklo_epi32(c, d);
  __m256i cd_high = _mm256_unpackhi_epi32(c, d);
  out[0] = (tile_u32)_mm256_unpacklo_epi64(ab_low, cd_low);
  out[1] = (tile_u32)_mm256_unpackhi_epi64(ab_low, cd_low);
  out[2] = (tile_u32)_mm256_unpacklo_epi64(ab_high, cd_high);
  out[3] = (tile_u32)_mm256_unpackhi_epi64(ab_high, cd_high);
}

static INLINE tile_f32 halves_to_floats(tile_u32 bits) {
  __m256i low = (__m256i)(bits & 0xFFFFu);
  __m256i packed = _mm256_packus_epi32(low, low);
  packed = _mm256_permute4x64_epi64(packed, 0x08);
  return (tile_f32)_mm256_cvtph_ps(_mm256_castsi256_si128(packed));
}

static INLINE tile_f32 load_halves(const uint8_t *p) {
  return (tile_f32)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

static INLINE tile_u32 spread_bits(tile_u32 bits, int j) {
  __m256i bytes = _mm256_shuffle_epi8(
      (__m256i)bits, _mm256_add_epi8(_mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0C0C0C0C, 0,
                                                       0x04040404, 0x08080808, 0x0C0C0C0C),
                                     _mm256_set1_epi8((char)(j / 2))));
  __m256i place = _mm256_set1_epi32(j % 2 == 0 ? 0x08040201 : (int)0x80402010);
  __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, place), place);
  return (tile_u32)_mm256_and_si256(set, _mm256_set1_epi8(16));
}

static INLINE tile_u32 bytes_of_table(const uint8_t table[16], tile_u32 indices) {
  __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
  return (tile_u32)_mm256_shuffle_epi8(bytes, (__m256i)indices);
}

// maddubs adds two products in 16 bits, and the steps accumulate there: 8 · 2 · 15 · 128, 4 · 2 ·
// 31 · 128 and 2 · 2 · 63 · 128 are all below 2¹⁵. Weights of eight bits stay signed: |w| · (x with
// w's sign) is at most 2 · 128 · 127.
#define Q8_OFFSET 0
#define DOT_STEPS(bits) ((bits) <= 5 ? 4 : (bits) == 6 ? 2 : 1)

static INLINE tile_i32 dot_step(tile_i32 sum, tile_u32 weights, const int8_t *x, int bits) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  __m256i w = (__m256i)weights;
  __m256i activations = _mm256_set1_epi32(four);
  if (bits == 8) {
    activations = _mm256_sign_epi8(activations, w);
    w = _mm256_abs_epi8(w);
  }
  return (tile_i32)_mm256_add_epi16((__m256i)sum, _mm256_maddubs_epi16(w, activations));
}

// Sums are pairs of 16 bits until dot_end adds them.
#define DOT_BEGIN(total) ((tile_i32){0})
static INLINE tile_i32 dot_end(tile_i32 total, tile_i32 sum, int bits) {
  return total + (tile_i32)_mm256_madd_epi16((__m256i)sum, _mm256_set1_epi16(1));
}

#else

static INLINE void load_turned(const uint8_t *const *rows, int64_t offset, tile_u32 out[4]) {
  tile_u32 v[TILE];
  for (int row = 0; row < TILE; row++) memcpy(&v[row], rows[row] + offset, 16);
  tile_u32 ab_low = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5);
  tile_u32 ab_high = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
  tile_u32 cd_low = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
  tile_u32 cd_high = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
  out[0] = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
  out[1] = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
  out[2] = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  out[3] = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

static INLINE tile_f32 halves_to_floats(tile_u32 bits) {
  tile_u32 magnitude = (bits & 0x7FFFu) << 13;
  tile_u32 special = (tile_u32)((bits & 0x7C00u) == 0x7C00u) & 0x7F800000u;
  tile_f32 value = (tile_f32)magnitude * 0x1p112f;
  return (tile_f32)((tile_u32)value | special | (bits & 0x8000u) << 16);
}

static INLINE tile_f32 load_halves(const uint8_t *p) {
  tile_u32 bits;
  for (int row = 0; row < TILE; row++) {
    uint16_t half;
    memcpy(&half, p + 2 * row, sizeof half);
    bits[row] = half;
  }
  return halves_to_floats(bits);
}

static INLINE tile_u32 spread_bits(tile_u32 bits, int j) {
  tile_u32 four = (bits >> (4 * j)) & 15u;
  four = four | four << 7;
  four = four | four << 14;
  return (four & 0x01010101u) << 4;
}

static INLINE tile_u32 bytes_of_table(const uint8_t table[16], tile_u32 indices) {
  uint8_t bytes[4 * TILE];
  memcpy(bytes, &indices, sizeof bytes);
  for (int i = 0; i < 4 * TILE; i++) bytes[i] = table[bytes[i]];
  memcpy(&indices, bytes, sizeof bytes);
  return indices;
}

#define Q8_OFFSET 128
#define DOT_STEPS(bits) 4

static INLINE tile_i32 dot_step(tile_i32 sum, tile_u32 weights, const int8_t *x, int bits) {
  for (int i = 0; i < 4; i++) {
    sum = sum + (tile_i32)((weights >> (8 * i)) & 255u) * (int32_t)x[i];
  }
  return sum;
}

#define DOT_BEGIN(total) (total)
static INLINE tile_i32 dot_end(tile_i32 total, tile_i32 sum, int bits) { return sum; }

#endif

#endif
