// Products as an array of cores does them: rows of int8 with one scale each, weights of int8 with
// one scale for each column of the product, and exact sums in int32. Both are rotated along the
// depth before they are rounded (hadamard.h).
//
// Weights are packed in the order in which the array reads them:
//
//   part of the depth > column of cores > pass   strips of 64 columns, `side` strips a pass
//     step                                       64 of the depth: 4096 bytes
//       pair of tiles                            16 columns: 1024 bytes
//         group                                  8 of the depth: 128 bytes
//           tile                                 8 x 8: for each of the depth, eight columns
//
// A strip's steps follow each other, so a thread that multiplies strip by strip reads sequentially.

enum {
  ARRAY_DEPTH = 64,  // of a step
  ARRAY_GROUP = 8,   // of the depth, of a tile
  ARRAY_COLUMNS = 64,
  ARRAY_PAIR = 16,
  ARRAY_PAIRS = ARRAY_COLUMNS / ARRAY_PAIR,
  ARRAY_PAIR_BYTES = ARRAY_PAIR * ARRAY_DEPTH,
  ARRAY_STEP_BYTES = ARRAY_COLUMNS * ARRAY_DEPTH,
};

// --- Rows as int8 --------------------------------------------------------------------------------

static INLINE i32x16 larger_magnitudes(i32x16 largest, f32x16 x) {
  return __builtin_elementwise_max(largest, (i32x16)x & 0x7FFFFFFF);
}

// Returns the scale for bits of magnitudes. The bits of infinity and NaN are greater than those of
// other numbers, so they reach the scale. The inverse is 0 where all quants are to be zero: because
// it would overflow, or because the scale alone makes the results NaN.
static INLINE block_scale scale_of_magnitudes(i32x16 magnitudes) {
  int32_t bits = __builtin_reduce_max(magnitudes);
  float largest;
  memcpy(&largest, &bits, sizeof largest);
  if (largest < 1e-30f) return (block_scale){0, 0};
  if (bits >= 0x7F800000) return (block_scale){largest, 0};
  return (block_scale){largest / 127.0f, 127.0f / largest};
}

static INLINE i8x16 quantise_lanes(f32x16 x, float inverse) {
  if (inverse == 0) return (i8x16){0};
  return __builtin_convertvector((i32x16)(x * inverse + ROUNDING) - 0x4B400000, i8x16);
}

static void quantise_rows(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_quantise_rows_args *args = arguments;
  int64_t width = args->input.width;
  range rows = share(step->counts[args->input.row_set], thread, threads);
  float *x = (float *)(step->scratch + thread * step->scratch_bytes);
  for (int64_t row = rows.first; row < rows.end; row++) {
    hadamard_rotate(plane_row(&args->input, step, row), width, hadamard_length(width), x);
    int8_t *quants = args->output.quants + row * args->output.pitch;
    i32x16 largest = {0};
    for (int64_t i = 0; i < width; i += LANES) {
      largest = larger_magnitudes(largest, load_part(x + i, width - i));
    }
    block_scale scale = scale_of_magnitudes(largest);
    args->output.scales[row] = scale.scale;
    for (int64_t i = 0; i < width; i += LANES) {
      i8x16 q = quantise_lanes(load_part(x + i, width - i), scale.inverse);
      memcpy(quants + i, &q, width - i < LANES ? (size_t)(width - i) : sizeof q);
    }
  }
}

// --- Exact sums ----------------------------------------------------------------------------------

// Of each instruction set: how many rows are multiplied together; array_value, as which copy_step
// copies a step of each to where the addresses are constants and share no cache set; array_offset,
// with which a row's sums begin; and add_pair, which adds a step of 16 columns to the totals of some
// rows.

#if CPU_THIS_ISA == CPU_ISA_AVX512VNNI

enum { ARRAY_ROWS = 16 };

typedef int8_t array_value;

static INLINE void copy_step(const int8_t *x, array_value *values) {
  memcpy(values, x, ARRAY_DEPTH);
}

// One of the factors must be without a sign: Σ (w + 128) · x - 128 · Σ x = Σ w · x, also if it
// wraps.
static INLINE int32_t array_offset(const int8_t *x, int64_t count) {
  __m512i sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < count; i += 64) {
    sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(1), _mm512_loadu_si512(x + i));
  }
  return (int32_t)(-128u * (uint32_t)_mm512_reduce_add_epi32(sum));
}

// Turns two tiles so that a lane has four of the depth of one of the 16 columns.
static INLINE __m512i turn_pair(__m512i first, __m512i second, __m512i places) {
  const __m512i four_by_four = _mm512_broadcast_i32x4(
      _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  __m512i v = _mm512_permutex2var_epi32(first, places, second);
  return _mm512_xor_si512(_mm512_shuffle_epi8(v, four_by_four), _mm512_set1_epi8(-128));
}

static INLINE __m512i four_of_row(const int8_t *x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return _mm512_set1_epi32(four);
}

static INLINE void add_pair(const int8_t *tiles, array_value x[][ARRAY_DEPTH], int rows,
                            int32_t totals[][ARRAY_COLUMNS]) {
  const __m512i low = _mm512_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7, 16, 18, 20, 22, 17, 19, 21, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  __m512i sums[ARRAY_ROWS];
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) sums[m] = _mm512_loadu_si512(totals[m]);
#pragma clang loop unroll_count(2)
  for (int k = 0; k < ARRAY_DEPTH; k += ARRAY_GROUP) {
    __m512i first = _mm512_loadu_si512(tiles + 16 * k);
    __m512i second = _mm512_loadu_si512(tiles + 16 * k + 64);
    __m512i w = turn_pair(first, second, low);
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) {
      sums[m] = _mm512_dpbusd_epi32(sums[m], w, four_of_row(x[m] + k));
    }
    w = turn_pair(first, second, high);
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) {
      sums[m] = _mm512_dpbusd_epi32(sums[m], w, four_of_row(x[m] + k + 4));
    }
  }
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) _mm512_storeu_si512(totals[m], sums[m]);
}

#else

enum { ARRAY_ROWS = 4 };

typedef int16_t array_value;
typedef int16_t i16x16 __attribute__((vector_size(32)));

static INLINE void copy_step(const int8_t *x, array_value *values) {
  for (int k = 0; k < ARRAY_DEPTH; k += LANES) {
    i8x16 narrow;
    memcpy(&narrow, x + k, sizeof narrow);
    i16x16 wide = __builtin_convertvector(narrow, i16x16);
    memcpy(values + k, &wide, sizeof wide);
  }
}

static INLINE int32_t array_offset(const int8_t *x, int64_t count) { return 0; }

#if CPU_THIS_ISA == CPU_ISA_AVX2

static INLINE __m256i two_of_row(const array_value *x) {
  int32_t two;
  memcpy(&two, x, sizeof two);
  return _mm256_set1_epi32(two);
}

// Loads two of the depth of a tile. A lane has those of one column as 16 bits, in their upper
// bytes, so they are 256 times too large.
static INLINE __m256i two_of_tile(const int8_t *tile) {
  const __m256i places = _mm256_setr_epi8(-1, 0, -1, 8, -1, 1, -1, 9, -1, 2, -1, 10, -1, 3, -1, 11,
                                          -1, 4, -1, 12, -1, 5, -1, 13, -1, 6, -1, 14, -1, 7, -1,
                                          15);
  __m128i two = _mm_loadu_si128((const __m128i *)tile);
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(two), places);
}

static INLINE void add_shifted(int32_t *totals, __m256i sums) {
  __m256i total = _mm256_loadu_si256((const __m256i *)totals);
  total = _mm256_add_epi32(total, _mm256_srai_epi32(sums, 8));
  _mm256_storeu_si256((__m256i *)totals, total);
}

// The sums of a step stay below 64 · 128 · 128 · 256 = 2²⁸ and are divided by 256 then.
static INLINE void add_pair(const int8_t *tiles, array_value x[][ARRAY_DEPTH], int rows,
                            int32_t totals[][ARRAY_COLUMNS]) {
  __m256i sums[ARRAY_ROWS][2];
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) sums[m][0] = sums[m][1] = _mm256_setzero_si256();
#pragma clang loop unroll(disable)
  for (int group = 0; group < ARRAY_DEPTH; group += ARRAY_GROUP) {
#pragma clang loop unroll(full)
    for (int k = group; k < group + ARRAY_GROUP; k += 2) {
      const int8_t *place = tiles + 16 * group + 8 * (k - group);
      __m256i first = two_of_tile(place);
      __m256i second = two_of_tile(place + 64);
#pragma clang loop unroll(full)
      for (int m = 0; m < rows; m++) {
        __m256i both = two_of_row(x[m] + k);
        sums[m][0] = _mm256_add_epi32(sums[m][0], _mm256_madd_epi16(first, both));
        sums[m][1] = _mm256_add_epi32(sums[m][1], _mm256_madd_epi16(second, both));
      }
    }
  }
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) {
    add_shifted(totals[m], sums[m][0]);
    add_shifted(totals[m] + 8, sums[m][1]);
  }
}

#else

typedef int8_t i8x8 __attribute__((vector_size(8)));
typedef int16_t i16x8 __attribute__((vector_size(16)));
typedef int32_t i32x8 __attribute__((vector_size(32)));

// A product of two int8 fits 16 bits. A tile of eight columns is added after the other.
static INLINE void add_pair(const int8_t *tiles, array_value x[][ARRAY_DEPTH], int rows,
                            int32_t totals[][ARRAY_COLUMNS]) {
  for (int column = 0; column < ARRAY_PAIR; column += 8) {
    i32x8 sums[ARRAY_ROWS];
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) memcpy(&sums[m], totals[m] + column, sizeof sums[m]);
    for (int k = 0; k < ARRAY_DEPTH; k++) {
      i8x8 narrow;
      memcpy(&narrow, tiles + k / 8 * 128 + column * 8 + k % 8 * 8, sizeof narrow);
      i16x8 w = __builtin_convertvector(narrow, i16x8);
#pragma clang loop unroll(full)
      for (int m = 0; m < rows; m++) {
        sums[m] = sums[m] + __builtin_convertvector(w * x[m][k], i32x8);
      }
    }
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) memcpy(totals[m] + column, &sums[m], sizeof sums[m]);
  }
}

#endif
#endif

// Some pairs of tiles of a strip in one part of the depth.
typedef struct {
  const int8_t *packed;
  int64_t steps;
  int64_t depth;   // before it
  int64_t column;  // of the product, of the whole strip
  int64_t first_pair, end_pair;
  int32_t *sums;  // of the part
} array_strip;

static INLINE void multiply_strip_rows(const cpu_multiply_array_args *args,
                                       const array_strip *strip, int64_t row, int rows) {
  _Alignas(64) int32_t totals[ARRAY_ROWS][ARRAY_COLUMNS];
  _Alignas(64) array_value values[ARRAY_ROWS][ARRAY_DEPTH];
  int64_t pitch = args->input.pitch;
  const int8_t *x = args->input.quants + row * pitch + strip->depth;
  bool few = prefetches_few_rows();
#pragma clang loop unroll(disable)
  for (int m = 0; m < rows; m++) {
    int32_t offset = array_offset(x + m * pitch, strip->steps * ARRAY_DEPTH);
    for (int column = 0; column < ARRAY_COLUMNS; column++) totals[m][column] = offset;
  }
  for (int64_t i = 0; i < strip->steps; i++) {
    const int8_t *packed = strip->packed + i * ARRAY_STEP_BYTES;
    for (int m = 0; m < rows; m++) copy_step(x + m * pitch + i * ARRAY_DEPTH, values[m]);
    for (int64_t pair = strip->first_pair; pair < strip->end_pair; pair++) {
      const int8_t *tiles = packed + pair * ARRAY_PAIR_BYTES;
      prefetch_packed((const uint8_t *)tiles, 0, ARRAY_PAIR_BYTES, rows, few);
      // A pair of tiles lies behind the other in each row's totals, too.
      add_pair(tiles, values, rows,
               (int32_t(*)[ARRAY_COLUMNS])(totals[0] + pair * ARRAY_PAIR));
    }
  }
  int64_t first = strip->first_pair * ARRAY_PAIR;
  int64_t end = (args->weight.columns + 7) / 8 * 8 - strip->column;
  if (end > strip->end_pair * ARRAY_PAIR) end = strip->end_pair * ARRAY_PAIR;
#pragma clang loop unroll(disable)
  for (int m = 0; m < rows; m++) {
    int32_t *sums = strip->sums + (row + m) * args->sums_pitch + strip->column;
    memcpy(sums + first, totals[m] + first, (size_t)(end - first) * sizeof(int32_t));
  }
}

// The first rows read the strip from memory, the others find it in the cache.
static INLINE void multiply_strip(const cpu_multiply_array_args *args, const array_strip *strip,
                                  int64_t rows) {
  int64_t row = 0;
  for (; row + ARRAY_ROWS <= rows; row += ARRAY_ROWS) {
    multiply_strip_rows(args, strip, row, ARRAY_ROWS);
  }
  if (ARRAY_ROWS > 8 && row + 8 <= rows) {
    multiply_strip_rows(args, strip, row, 8);
    row += 8;
  }
  if (ARRAY_ROWS > 4 && row + 4 <= rows) {
    multiply_strip_rows(args, strip, row, 4);
    row += 4;
  }
  if (row + 2 <= rows) {
    multiply_strip_rows(args, strip, row, 2);
    row += 2;
  }
  if (row < rows) multiply_strip_rows(args, strip, row, 1);
}

// Multiplies a thread's pairs of tiles in one part of the depth. Pairs are counted over the strips
// that have columns, in the order of memory; a thread has the same ones in each part.
static INLINE void multiply_part(const cpu_multiply_array_args *args, array_strip strip,
                                 range pairs, int64_t rows) {
  const cpu_array_weight *weight = &args->weight;
  int64_t first = 0;
  for (int64_t i = 0; i < weight->side * weight->passes; i++) {
    strip.column = (i % weight->passes * weight->side + i / weight->passes) * ARRAY_COLUMNS;
    int64_t left = (weight->columns - strip.column + ARRAY_PAIR - 1) / ARRAY_PAIR;
    int64_t count = left < 0 ? 0 : left < ARRAY_PAIRS ? left : ARRAY_PAIRS;
    strip.first_pair = pairs.first > first ? pairs.first - first : 0;
    strip.end_pair = pairs.end < first + count ? pairs.end - first : count;
    if (strip.first_pair < strip.end_pair) multiply_strip(args, &strip, rows);
    strip.packed += strip.steps * ARRAY_STEP_BYTES;
    first += count;
  }
}

static void multiply_array(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_multiply_array_args *args = arguments;
  const cpu_array_weight *weight = &args->weight;
  range pairs = share((weight->columns + ARRAY_PAIR - 1) / ARRAY_PAIR, thread, threads);
  array_strip strip = {.packed = weight->packed, .sums = args->sums};
  for (int64_t part = 0; part < weight->part_count; part++) {
    strip.steps = weight->part_steps[part];
    multiply_part(args, strip, pairs, step->counts[args->row_set]);
    strip.packed += weight->side * weight->passes * strip.steps * ARRAY_STEP_BYTES;
    strip.depth += strip.steps * ARRAY_DEPTH;
    strip.sums += args->sums_part;
  }
}

// --- Sums as f32 ---------------------------------------------------------------------------------

// Returns what the sums of a row must add up to.
static INLINE uint32_t expected_sum(const int8_t *quants, const int32_t *checks, int64_t depth) {
  uint32_t sum = 0;
  for (int64_t k = 0; k < depth; k++) {
    sum += (uint32_t)(int32_t)quants[k] * (uint32_t)checks[k];
  }
  return sum;
}

// Scales the sums of a row and returns what they add up to. Columns beyond the output's are only
// added.
static INLINE uint32_t scale_row_of_sums(const cpu_scale_sums_args *args, int64_t row,
                                         float *output) {
  int64_t width = args->output.width;
  int64_t count = (width + 7) / 8 * 8;
  const int32_t *sums = args->sums + row * args->sums_pitch;
  float scale = args->input.scales[row];
  u32x16 all = {0};
  for (int64_t i = 0; i < count; i += LANES) {
    u32x16 total = {0};
    for (int64_t part = 0; part < args->part_count; part++) {
      u32x16 some = {0};
      const int32_t *from = sums + part * args->sums_part + i;
      memcpy(&some, from, count - i < LANES ? (size_t)(count - i) * sizeof *from : sizeof some);
      total = total + some;
    }
    all = all + total;
    f32x16 factor = load_part(args->scales + i, width - i) * scale;
    f32x16 v = __builtin_convertvector((i32x16)total, f32x16) * factor;
    if (args->softcap != 0) v = hyperbolic_tangent(v / args->softcap) * args->softcap;
    store_part(output + i, v, width - i);
  }
  return __builtin_reduce_add(all);
}

static void scale_sums(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_scale_sums_args *args = arguments;
  range rows = share(step->counts[args->output.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) {
    uint32_t sum = scale_row_of_sums(args, row, plane_row(&args->output, step, row));
    const int8_t *quants = args->input.quants + row * args->input.pitch;
    if (sum != expected_sum(quants, args->checks, args->depth)) {
      __atomic_store_n(args->wrong, (int32_t)row + 1, __ATOMIC_RELAXED);
    }
  }
}

// --- Packing -------------------------------------------------------------------------------------

// How many values are decoded together: whole blocks of every type and of the rotation.
enum { ARRAY_DECODED = 256, ARRAY_DECODED_STEPS = ARRAY_DECODED / ARRAY_DEPTH };
_Static_assert(ARRAY_DECODED % HADAMARD_LENGTH == 0, "whole blocks of the rotation");
#define DIVIDES_DECODED(name, number, columns, bytes) \
  _Static_assert(ARRAY_DECODED % columns == 0, "whole blocks of " #name);
CPU_TYPES(DIVIDES_DECODED, DIVIDES_DECODED)
#undef DIVIDES_DECODED

// Decodes up to ARRAY_DECODED values of a weight's row from column `k` on, rotated, and returns how
// many they are.
static INLINE int64_t decode_rotated(const cpu_matrix *source, int64_t row, int64_t k,
                                     float values[ARRAY_DECODED]) {
  int64_t left = source->columns - k;
  int64_t count = left < ARRAY_DECODED ? left : ARRAY_DECODED;
  look_up(source, row, k, count, values);
  hadamard_rotate(values, count, hadamard_length(source->columns), values);
  return count;
}

static INLINE block_scale scale_of_weights(const cpu_matrix *source, int64_t row) {
  float values[ARRAY_DECODED];
  i32x16 largest = {0};
  for (int64_t k = 0; k < source->columns; k += ARRAY_DECODED) {
    int64_t count = decode_rotated(source, row, k, values);
    for (int64_t i = 0; i < count; i += LANES) {
      largest = larger_magnitudes(largest, load_part(values + i, count - i));
    }
  }
  return scale_of_magnitudes(largest);
}

// Returns where a step of a strip begins. Strips are counted in the order of memory, steps from the
// first part on.
static INLINE int8_t *packed_step(const cpu_pack_array_args *args, int64_t strip, int64_t step) {
  int8_t *packed = args->packed;
  int64_t part = 0;
  for (; step >= args->part_steps[part]; part++) {
    packed += args->side * args->passes * args->part_steps[part] * ARRAY_STEP_BYTES;
    step -= args->part_steps[part];
  }
  return packed + (strip * args->part_steps[part] + step) * ARRAY_STEP_BYTES;
}

// Packs some steps of one column, and adds its values to the checks of their depth.
static INLINE void pack_column(const cpu_matrix *source, int64_t row, int64_t k, float inverse,
                               int64_t column, int8_t *const steps[ARRAY_DECODED_STEPS],
                               int32_t checks[ARRAY_DECODED]) {
  float values[ARRAY_DECODED];
  int8_t quants[ARRAY_DECODED];
  int64_t count = decode_rotated(source, row, k, values);
  for (int64_t i = 0; i < count; i += LANES) {
    i8x16 q = quantise_lanes(load_part(values + i, count - i), inverse);
    memcpy(quants + i, &q, sizeof q);
  }
  int64_t pair = column / ARRAY_PAIR, tile = column % ARRAY_PAIR / 8;
  int64_t place = pair * ARRAY_PAIR_BYTES + tile * 64 + column % 8;
  for (int64_t i = 0; i < count; i++) {
    int64_t in_step = i % ARRAY_DEPTH;
    steps[i / ARRAY_DEPTH][place + in_step / 8 * 128 + in_step % 8 * 8] = quants[i];
    checks[i] += quants[i];
  }
}

static INLINE void pack_strip(const cpu_pack_array_args *args, int64_t strip, int64_t first_row) {
  const cpu_matrix *source = &args->source;
  int64_t left = source->rows - first_row;
  int64_t rows = left < ARRAY_COLUMNS ? left : ARRAY_COLUMNS;
  float inverses[ARRAY_COLUMNS];
  for (int64_t row = 0; row < rows; row++) {
    block_scale scale = scale_of_weights(source, first_row + row);
    args->scales[first_row + row] = scale.scale;
    inverses[row] = scale.inverse;
  }
  for (int64_t k = 0; k < source->columns; k += ARRAY_DECODED) {
    int8_t *steps[ARRAY_DECODED_STEPS] = {0};
    int32_t checks[ARRAY_DECODED] = {0};
    for (int64_t i = 0; i < ARRAY_DECODED_STEPS && k + i * ARRAY_DEPTH < source->columns; i++) {
      steps[i] = packed_step(args, strip, k / ARRAY_DEPTH + i);
    }
    for (int64_t row = 0; row < rows; row++) {
      pack_column(source, first_row + row, k, inverses[row], row, steps, checks);
    }
    for (int64_t i = 0; i < ARRAY_DECODED && k + i < source->columns; i++) {
      __atomic_fetch_add(&args->checks[k + i], checks[i], __ATOMIC_RELAXED);
    }
  }
}

static void pack_array(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_pack_array_args *args = arguments;
  range strips = share(args->side * args->passes, thread, threads);
  for (int64_t strip = strips.first; strip < strips.end; strip++) {
    for (int64_t part = 0, before = 0; part < args->part_count; part++) {
      int64_t steps = args->part_steps[part];
      if (steps == 0) continue;
      memset(packed_step(args, strip, before), 0, (size_t)(steps * ARRAY_STEP_BYTES));
      before += steps;
    }
    int64_t column = (strip % args->passes * args->side + strip / args->passes) * ARRAY_COLUMNS;
    if (column < args->source.rows) pack_strip(args, strip, column);
  }
}
