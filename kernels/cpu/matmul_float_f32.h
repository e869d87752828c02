// Products of float weights (f32, f16, bf16) and f32 activations.
//
// One arithmetic, whatever the tile: sixteen sums, column c in lane c mod 16, ascending; product
// and sum rounded apart; the lanes added at the end as in sum_lanes.

#if CPU_THIS_ISA == CPU_ISA_AVX512VNNI
enum { WEIGHT_ROWS = 4, INPUT_ROWS = 4 };  // 16 sums and 4 inputs of 32 registers
#elif CPU_THIS_ISA == CPU_ISA_AVX2
enum { WEIGHT_ROWS = 2, INPUT_ROWS = 2 };  // 8 sums and 4 inputs of 16
#else
enum { WEIGHT_ROWS = 2, INPUT_ROWS = 1 };
#endif

// Sixteen weights of a row from column `column` on, those beyond `left` 0.
typedef f32x16 (*widener)(const uint8_t *row, int64_t column, int64_t left);

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

// A tile of products: `weight_rows` rows of weights by `input_rows` rows of activations.
typedef struct {
  const uint8_t *weights;
  int64_t stride;  // bytes from weight row to weight row
  const float *inputs;
  int64_t width;
} float_tile;

// Adds the products of the columns from `column` on, at most LANES of them.
static INLINE void multiply_lanes(const float_tile *tile, int64_t column, int64_t left,
                                  int weight_rows, int input_rows, widener widen,
                                  f32x16 sums[WEIGHT_ROWS][INPUT_ROWS]) {
  f32x16 input[INPUT_ROWS];
#pragma clang loop unroll(full)
  for (int x = 0; x < input_rows; x++) {
    input[x] = load_part(tile->inputs + x * tile->width + column, left);
  }
#pragma clang loop unroll(full)
  for (int w = 0; w < weight_rows; w++) {
    f32x16 weight = widen(tile->weights + w * tile->stride, column, left);
#pragma clang loop unroll(full)
    for (int x = 0; x < input_rows; x++) sums[w][x] = sums[w][x] + weight * input[x];
  }
}

static INLINE void multiply_float_tile(const cpu_matmul_args *args, const cpu_step *step,
                                       int64_t column, int weight_rows, int64_t row,
                                       int input_rows, widener widen) {
  const float_tile tile = {args->weight.bytes + column * args->weight.row_bytes,
                           args->weight.row_bytes, plane_row(&args->input, step, row),
                           args->weight.columns};
  f32x16 sums[WEIGHT_ROWS][INPUT_ROWS];
#pragma clang loop unroll(full)
  for (int w = 0; w < weight_rows; w++) {
#pragma clang loop unroll(full)
    for (int x = 0; x < input_rows; x++) sums[w][x] = splat(0);
  }
  int64_t whole = tile.width - tile.width % LANES;
  for (int64_t i = 0; i < whole; i += LANES) {
    multiply_lanes(&tile, i, LANES, weight_rows, input_rows, widen, sums);
  }
  if (whole < tile.width) {
    multiply_lanes(&tile, whole, tile.width - whole, weight_rows, input_rows, widen, sums);
  }
#pragma clang loop unroll(full)
  for (int w = 0; w < weight_rows; w++) {
#pragma clang loop unroll(full)
    for (int x = 0; x < input_rows; x++) {
      float value = sum_lanes(sums[w][x]);
      if (args->softcap != 0) {
        value = hyperbolic_tangent(splat(value / args->softcap))[0] * args->softcap;
      }
      plane_row(&args->output, step, row + x)[column + w] = value;
    }
  }
}

static INLINE void multiply_float_rows(const cpu_matmul_args *args, const cpu_step *step,
                                       int64_t column, int weight_rows, widener widen) {
  int64_t rows = step->counts[args->output.row_set];
  int64_t row = 0;
  for (; row + INPUT_ROWS <= rows; row += INPUT_ROWS) {
    multiply_float_tile(args, step, column, weight_rows, row, INPUT_ROWS, widen);
  }
  for (; row < rows; row++) multiply_float_tile(args, step, column, weight_rows, row, 1, widen);
}

static INLINE void multiply_float(const cpu_matmul_args *args, const cpu_step *step, int thread,
                                  int threads, widener widen) {
  range units = share((args->weight.rows + 15) / 16, thread, threads);
  int64_t end = units.end * 16 < args->weight.rows ? units.end * 16 : args->weight.rows;
  int64_t column = units.first * 16;
  for (; column + WEIGHT_ROWS <= end; column += WEIGHT_ROWS) {
    multiply_float_rows(args, step, column, WEIGHT_ROWS, widen);
  }
  for (; column < end; column++) multiply_float_rows(args, step, column, 1, widen);
}

static void matmul_f32_f32(const void *args, const cpu_step *step, int thread, int threads) {
  multiply_float(args, step, thread, threads, widen_f32);
}

static void matmul_f16_f32(const void *args, const cpu_step *step, int thread, int threads) {
  multiply_float(args, step, thread, threads, widen_f16);
}

static void matmul_bf16_f32(const void *args, const cpu_step *step, int thread, int threads) {
  multiply_float(args, step, thread, threads, widen_bf16);
}
