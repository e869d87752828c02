// Products of float weights (f32, f16, bf16) and f32 activations.
//
// The arithmetic is the same for every tile: sixteen sums, with column c in lane c mod 16,
// ascending; product and sum are rounded separately; the lanes are added at the end as in
// sum_lanes.

#if CPU_THIS_ISA == CPU_ISA_AVX512VNNI
enum { WEIGHT_ROWS = 4, INPUT_ROWS = 4 };  // 16 sums and 4 inputs of 32 registers
#elif CPU_THIS_ISA == CPU_ISA_AVX2
enum { WEIGHT_ROWS = 2, INPUT_ROWS = 2 };  // 8 sums and 4 inputs of 16
#else
enum { WEIGHT_ROWS = 2, INPUT_ROWS = 2 };
#endif

// Returns sixteen weights of a row from column `column` on; those beyond `left` are 0.
typedef f32x16 (*widener)(const uint8_t *row, int64_t column, int64_t left);

// Float weights are packed in tiles of four rows, with sixteen columns of each row in turn, so that
// a product reads sequentially. Columns are padded to sixteen and rows to whole tiles, with zeros.
enum { FLOAT_TILE_ROWS = 4 };
_Static_assert(FLOAT_TILE_ROWS % WEIGHT_ROWS == 0 && TILE_ROWS % FLOAT_TILE_ROWS == 0,
               "tiles of floats are whole steps of a product, and divide those of cpu_packed_rows");

static INLINE void pack_float_tile(const cpu_matrix *source, int64_t first_row, int64_t size,
                                   uint8_t *packed) {
  for (int64_t column = 0; column < source->columns; column += LANES) {
    int64_t left = source->columns - column;
    size_t bytes = (size_t)((left < LANES ? left : LANES) * size);
    for (int64_t row = first_row; row < first_row + FLOAT_TILE_ROWS; row++) {
      memset(packed, 0, (size_t)(LANES * size));
      if (row < source->rows) {
        memcpy(packed, source->bytes + row * source->row_bytes + column * size, bytes);
      }
      packed += LANES * size;
    }
  }
}

// A tile of products: `weight_rows` packed rows of weights by `input_rows` rows of activations.
typedef struct {
  const uint8_t *weights;  // sixteen columns of the first row
  int64_t size;            // of a weight
  const float *inputs;
  int64_t width;
} float_tile;

// Adds the products of the columns from `column` on, of which `left` exist.
static INLINE void multiply_lanes(const float_tile *tile, int64_t column, int64_t left,
                                  int weight_rows, int input_rows, widener widen,
                                  f32x16 sums[WEIGHT_ROWS * INPUT_ROWS]) {
  f32x16 input[INPUT_ROWS];
#pragma clang loop unroll(full)
  for (int x = 0; x < input_rows; x++) {
    input[x] = load_part(tile->inputs + x * tile->width + column, left);
  }
  const uint8_t *weights = tile->weights + column * FLOAT_TILE_ROWS * tile->size;
  // As in matmul_tile.h.
  bool few = prefetches_few_rows();
  for (int line = 0; line < FLOAT_TILE_ROWS * LANES * tile->size; line += 64) {
    if (input_rows > FEW_ROWS) {
      __builtin_prefetch(weights + 2048 + line);
    } else if (few) {
      __builtin_prefetch(weights + FEW_ROWS_BYTES_AHEAD + line, 0, 2);
    }
  }
#pragma clang loop unroll(full)
  for (int w = 0; w < weight_rows; w++) {
    f32x16 weight = widen(weights + w * LANES * tile->size, 0, LANES);
#pragma clang loop unroll(full)
    for (int x = 0; x < input_rows; x++) {
      sums[w * input_rows + x] = sums[w * input_rows + x] + weight * input[x];
    }
  }
}

static INLINE void store_products(const cpu_matmul_args *args, const cpu_step *step,
                                  int64_t column, int weight_rows, int64_t row, int input_rows,
                                  const f32x16 sums[WEIGHT_ROWS * INPUT_ROWS]) {
  float products[LANES];
  if (weight_rows * input_rows == LANES) {
    store(products, sum_lanes_16(sums));
  } else {
    for (int i = 0; i < weight_rows * input_rows; i++) products[i] = sum_lanes(sums[i]);
  }
  for (int w = 0; w < weight_rows && column + w < args->weight.rows; w++) {
    for (int x = 0; x < input_rows; x++) {
      float value = products[w * input_rows + x];
      if (args->softcap != 0) {
        value = hyperbolic_tangent(splat(value / args->softcap))[0] * args->softcap;
      }
      plane_row(&args->output, step, row + x)[column + w] = value;
    }
  }
}

static INLINE void multiply_float_tile(const cpu_matmul_args *args, const cpu_step *step,
                                       int64_t column, int64_t row, int input_rows, int64_t size,
                                       widener widen) {
  int64_t first = column / FLOAT_TILE_ROWS * FLOAT_TILE_ROWS;
  const float_tile tile = {
      args->weight.bytes + first * args->weight.row_bytes + (column - first) * LANES * size, size,
      plane_row(&args->input, step, row), args->weight.columns};
  f32x16 sums[WEIGHT_ROWS * INPUT_ROWS];
#pragma clang loop unroll(full)
  for (int i = 0; i < WEIGHT_ROWS * input_rows; i++) sums[i] = splat(0);
  int64_t whole = tile.width - tile.width % LANES;
  for (int64_t i = 0; i < whole; i += LANES) {
    multiply_lanes(&tile, i, LANES, WEIGHT_ROWS, input_rows, widen, sums);
  }
  if (whole < tile.width) {
    multiply_lanes(&tile, whole, tile.width - whole, WEIGHT_ROWS, input_rows, widen, sums);
  }
  store_products(args, step, column, WEIGHT_ROWS, row, input_rows, sums);
}

static INLINE void multiply_float_rows(const cpu_matmul_args *args, const cpu_step *step,
                                       int64_t column, range rows, int64_t size, widener widen) {
  int64_t row = rows.first;
  for (; row + INPUT_ROWS <= rows.end; row += INPUT_ROWS) {
    multiply_float_tile(args, step, column, row, INPUT_ROWS, size, widen);
  }
  if (INPUT_ROWS > 2 && row + 2 <= rows.end) {
    multiply_float_tile(args, step, column, row, 2, size, widen);
    row += 2;
  }
  for (; row < rows.end; row++) multiply_float_tile(args, step, column, row, 1, size, widen);
}

// Rows of activations are processed in chunks that fit the second-level cache.
enum { FLOAT_CHUNK_BYTES = 256 * 1024 };

// The weight's rows are divided among the threads so that no two write to the same cache line.
static INLINE void multiply_float(const cpu_matmul_args *args, const cpu_step *step, int thread,
                                  int threads, int64_t size, widener widen) {
  int64_t rows = step->counts[args->output.row_set];
  range own = share_columns(args->weight.rows, thread, threads);
  int64_t chunk = FLOAT_CHUNK_BYTES / (args->weight.columns * 4) / INPUT_ROWS * INPUT_ROWS;
  if (chunk < 4 * INPUT_ROWS) chunk = 4 * INPUT_ROWS;
  for (int64_t first = 0; first < rows; first += chunk) {
    range some = {first, first + chunk < rows ? first + chunk : rows};
    for (int64_t column = own.first; column < own.end; column += WEIGHT_ROWS) {
      multiply_float_rows(args, step, column, some, size, widen);
    }
  }
}

#define DEFINE_MATMUL_FLOAT(name, number, columns, bytes)                             \
  static void matmul_##name##_f32(const void *args, const cpu_step *step, int thread, \
                                  int threads) {                                      \
    multiply_float(args, step, thread, threads, bytes, widen_##name);                 \
  }
CPU_TYPES(DEFINE_MATMUL_FLOAT, NO_KERNEL)
