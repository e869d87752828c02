// Products of quantised weights and int8 activations: what all weight types share.
//
// One arithmetic, whatever the tile and the order of loops:
//   for each block of 32 columns, ascending:
//     total = Σ (w - offset) · x                           exact, int32
//     sum = sum + (scale · x_scale) · f32(total)
//     sum = sum + minimum · x_sum                          types with a minimum
// where types with two scales in a block (q6_K) take total = s₀ · total₀ + s₁ · total₁, exact too.
//
// A tile of TILE weight rows is decoded block by block into `tile_block`s: a few at a time when few
// rows of activations share them, else the tile's whole rows, once, for all rows of activations.

typedef struct {
  int bits;         // of a stored weight: how large products may get
  int offset;       // subtracted from each stored weight
  bool has_minimum;
  bool has_halves;  // two integer scales in a block
  int unit;         // blocks of 32 that are decoded together
} weight_format;

// 32 columns of TILE rows.
typedef struct {
  tile_u32 weights[8];  // [j] columns 4j ..< 4j + 4 of each row
  tile_f32 scale;
  union {
    tile_f32 minimum;
    tile_i32 half_scales[2];
  };
} tile_block;

// Decodes `count` blocks from block `first` on of TILE rows; both are multiples of the
// type's unit.
typedef void (*unpacker)(const uint8_t *rows, int64_t stride, int64_t first, int64_t count,
                         tile_block *blocks);

// Rows of activations that are multiplied together; their sums live in registers.
#if CPU_THIS_ISA == CPU_ISA_AVX512VNNI
enum { ROWS_TOGETHER = 8 };
#else
enum { ROWS_TOGETHER = 4 };
#endif

// Some rows of activations.
typedef struct {
  const int8_t *quants;
  const float *scales;
  const float *sums;
  const int32_t *half_sums;
  int64_t width;
} activation_rows;

static INLINE activation_rows activations_from(const cpu_quantised *x, int64_t row) {
  return (activation_rows){
      x->quants + row * x->width, x->scales + row * (x->width / 32),
      x->sums + row * (x->width / 32), x->half_sums + row * (x->width / 16), x->width};
}

// totals[m] += weights[0 ..< steps] · x of row m.
static INLINE void dot_rows(const tile_u32 *weights, int steps, const int8_t *x, int64_t width,
                            int bits, int rows, tile_i32 *totals) {
#pragma clang loop unroll(full)
  for (int first = 0; first < steps; first += DOT_STEPS(bits)) {
    tile_i32 sums[ROWS_TOGETHER];
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) sums[m] = (tile_i32){0};
#pragma clang loop unroll(full)
    for (int j = first; j < first + DOT_STEPS(bits); j++) {
#pragma clang loop unroll(full)
      for (int m = 0; m < rows; m++) {
        sums[m] = dot_step(sums[m], weights[j], x + m * width + 4 * j, bits);
      }
    }
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) totals[m] = dot_end(totals[m], sums[m], bits);
  }
}

static INLINE void dot_block(const tile_block *block, weight_format format,
                             const activation_rows *x, int64_t index, int rows, tile_f32 *sums) {
  const int8_t *quants = x->quants + index * 32;
  tile_i32 totals[ROWS_TOGETHER];
  tile_i32 seconds[ROWS_TOGETHER];
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) totals[m] = seconds[m] = (tile_i32){0};
  dot_rows(block->weights, 4, quants, x->width, format.bits, rows, totals);
  dot_rows(block->weights + 4, 4, quants + 16, x->width, format.bits, rows,
           format.has_halves ? seconds : totals);
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) {
    const int32_t *half_sums = x->half_sums + m * (x->width / 16) + 2 * index;
    tile_i32 total = totals[m];
    if (format.has_halves) {
      total = (total - format.offset * half_sums[0]) * block->half_scales[0] +
              (seconds[m] - format.offset * half_sums[1]) * block->half_scales[1];
    } else if (format.offset != 0) {
      total = total - format.offset * (half_sums[0] + half_sums[1]);
    }
    int64_t place = m * (x->width / 32) + index;
    sums[m] = sums[m] + (block->scale * x->scales[place]) *
                            __builtin_convertvector(total, tile_f32);
    if (format.has_minimum) sums[m] = sums[m] + block->minimum * x->sums[place];
  }
}

static INLINE void dot_blocks(const tile_block *blocks, int64_t first, int64_t count,
                              weight_format format, const activation_rows *x, int rows,
                              tile_f32 *sums) {
  for (int64_t i = 0; i < count; i++) dot_block(&blocks[i], format, x, first + i, rows, sums);
}

// TILE weight rows and where their results go: lanes from `first_lane` on to columns from `column`.
typedef struct {
  const uint8_t *rows;
  int64_t stride;
  int64_t column;
  int first_lane;
  int lanes;
} weight_tile;

static INLINE void store_tile(const cpu_matmul_args *args, const cpu_step *step,
                              const weight_tile *tile, int64_t row, tile_f32 sums) {
  float values[LANES] = {0};
  memcpy(values, &sums, sizeof sums);
  if (args->softcap != 0) {
    f32x16 v = hyperbolic_tangent(load(values) / args->softcap) * args->softcap;
    store(values, v);
  }
  float *output = plane_row(&args->output, step, row) + tile->column;
  if (tile->lanes == TILE) {
    memcpy(output, values, TILE * sizeof(float));
  } else {
    memcpy(output, values + tile->first_lane, (size_t)tile->lanes * sizeof(float));
  }
}

// How far ahead memory is asked for, in the order it lies in. Far enough that a row's next blocks
// have arrived when the tile comes to them; to the second cache, since the first is too small.
enum { BYTES_AHEAD = 32768, CACHE_LINE = 64 };

// Few rows of activations: decode a unit of blocks, use it, go on. Tiles follow each other in
// memory, so while one is used, as many bytes are asked for further on.
static INLINE void multiply_streaming(const cpu_matmul_args *args, const cpu_step *step,
                                      const weight_tile *tile, weight_format format,
                                      unpacker unpack, int64_t row, int rows) {
  tile_block blocks[8];
  tile_f32 sums[ROWS_TOGETHER];
  activation_rows x = activations_from(&args->quantised, row);
  int64_t count = args->weight.columns / 32;
  int64_t bytes_per_block = TILE * tile->stride / count;
  const uint8_t *ahead = tile->rows + BYTES_AHEAD;
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) sums[m] = (tile_f32){0};
  for (int64_t first = 0; first < count; first += format.unit) {
    unpack(tile->rows, tile->stride, first, format.unit, blocks);
#pragma clang loop unroll(full)
    for (int64_t i = 0; i < format.unit; i++) {
      for (int64_t line = 0; line < bytes_per_block; line += CACHE_LINE) {
        __builtin_prefetch(ahead + line, 0, 2);
      }
      ahead += bytes_per_block;
      dot_block(&blocks[i], format, &x, first + i, rows, sums);
    }
  }
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) store_tile(args, step, tile, row + m, sums[m]);
}

// Up to how many rows of activations a tile is streamed for instead of decoded into the scratch:
// writing a decoded tile and reading it back costs more than decoding it four times (SPEED.md,
// entry 1).
enum { STREAMED_ROWS = 32 };

// The first group reads the tile from memory, the others find it in the cache.
static INLINE void multiply_few(const cpu_matmul_args *args, const cpu_step *step,
                                const weight_tile *tile, weight_format format, unpacker unpack,
                                int64_t rows) {
  int64_t row = 0;
  for (; row + ROWS_TOGETHER <= rows; row += ROWS_TOGETHER) {
    multiply_streaming(args, step, tile, format, unpack, row, ROWS_TOGETHER);
  }
  if (ROWS_TOGETHER > 4 && row + 4 <= rows) {
    multiply_streaming(args, step, tile, format, unpack, row, 4);
    row += 4;
  }
  if (row + 2 <= rows) {
    multiply_streaming(args, step, tile, format, unpack, row, 2);
    row += 2;
  }
  if (row < rows) multiply_streaming(args, step, tile, format, unpack, row, 1);
}

static INLINE void multiply_group(const cpu_matmul_args *args, const cpu_step *step,
                                  const weight_tile *tile, weight_format format,
                                  const tile_block *blocks, int64_t row, int rows) {
  tile_f32 sums[ROWS_TOGETHER];
  activation_rows x = activations_from(&args->quantised, row);
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) sums[m] = (tile_f32){0};
  dot_blocks(blocks, 0, args->weight.columns / 32, format, &x, rows, sums);
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) store_tile(args, step, tile, row + m, sums[m]);
}

// Many rows of activations: decode the tile's rows once, into the thread's scratch.
static INLINE void multiply_decoded(const cpu_matmul_args *args, const cpu_step *step,
                                    const weight_tile *tile, weight_format format,
                                    unpacker unpack, tile_block *blocks, int64_t rows) {
  unpack(tile->rows, tile->stride, 0, args->weight.columns / 32, blocks);
  int64_t row = 0;
  for (; row + ROWS_TOGETHER <= rows; row += ROWS_TOGETHER) {
    multiply_group(args, step, tile, format, blocks, row, ROWS_TOGETHER);
  }
  for (; row + 2 <= rows; row += 2) multiply_group(args, step, tile, format, blocks, row, 2);
  if (row < rows) multiply_group(args, step, tile, format, blocks, row, 1);
}

// The tile of weight rows from `column` on. Its rows are always TILE: the last tile reaches back
// over the one before, and a matrix of fewer rows is filled up in the thread's scratch.
static INLINE weight_tile tile_at(const cpu_matrix *weight, int64_t column, uint8_t *scratch) {
  int64_t left = weight->rows - column;
  int lanes = left < TILE ? (int)left : TILE;
  weight_tile tile = {weight->bytes + column * weight->row_bytes, weight->row_bytes, column, 0,
                      lanes};
  if (weight->rows >= TILE) {
    tile.first_lane = TILE - lanes;
    tile.rows -= tile.first_lane * weight->row_bytes;
  } else {
    for (int row = 0; row < TILE; row++) {
      int64_t source = row < weight->rows ? row : weight->rows - 1;
      memcpy(scratch + row * weight->row_bytes, weight->bytes + source * weight->row_bytes,
             (size_t)weight->row_bytes);
    }
    tile.rows = scratch;
  }
  return tile;
}

// Threads split the weight's rows in units of 16, so that no two write to one cache line.
static INLINE void multiply(const cpu_matmul_args *args, const cpu_step *step, int thread,
                            int threads, weight_format format, unpacker unpack) {
  int64_t rows = step->counts[args->output.row_set];
  if (rows == 0) return;
  range units = share((args->weight.rows + 15) / 16, thread, threads);
  int64_t end = units.end * 16 < args->weight.rows ? units.end * 16 : args->weight.rows;
  uint8_t *scratch = step->scratch + thread * step->scratch_bytes;
  int64_t decoded = args->weight.columns / 32 * (int64_t)sizeof(tile_block);
  for (int64_t column = units.first * 16; column < end; column += TILE) {
    weight_tile tile = tile_at(&args->weight, column, scratch + decoded);
    if (rows <= STREAMED_ROWS) {
      multiply_few(args, step, &tile, format, unpack, rows);
    } else {
      multiply_decoded(args, step, &tile, format, unpack, (tile_block *)scratch, rows);
    }
  }
}

#define DEFINE_MATMUL(type, bits, offset, has_minimum, has_halves, unit)                       \
  static void matmul_##type##_i8(const void *args, const cpu_step *step, int thread,           \
                                 int threads) {                                                \
    const weight_format format = {bits, offset, has_minimum, has_halves, unit};                \
    multiply(args, step, thread, threads, format, unpack_##type);                              \
  }
