// Products of quantised weights and int8 activations: what all weight types share.
//
// One arithmetic, whatever the tile and the order of loops:
//   for each block of 32 columns, ascending:
//     total = Σ (w - offset) · x                           exact, int32
//     sum = sum + (scale · x_scale) · f32(total)
//     sum = sum + minimum · x_sum                          types with a minimum
// where types with two scales in a block (q6_K, q3_K) take total = s₀ · total₀ + s₁ · total₁, exact too,
// and one with two minima besides (q2_K)
//     sum = sum - (minimum · x_scale) · f32(m₀ · Σ x₀ + m₁ · Σ x₁)
//
// Weights are packed (packed.h). TILE of a tile's sixteen rows are decoded block by block into
// registers, and used by up to ROWS_TOGETHER rows of activations there; decoding again for the next
// rows, from a tile that is in the cache by then, costs little. Only for many rows, and types that
// take more than a mask and a shift, is the tile decoded once and for all into the thread's scratch
// (SPEED.md, entries 1 and 3).

typedef struct {
  int bits;         // of a stored weight: how large products may get
  int offset;       // subtracted from each stored weight: divides 32 with halves, else a multiple of 8
  bool has_minimum;
  bool has_halves;  // two integer scales in a block; and two minima, if it has a minimum too
  block_layout layout;
} weight_format;

// 32 columns of TILE rows.
typedef struct {
  tile_u32 weights[8];  // [j] columns 4j ..< 4j + 4 of each row
  tile_f32 scale;  // with two minima: the bits of the f16 scale low, of the f16 minimum high
  union {
    tile_f32 minimum;
    tile_i32 half_scales[2];  // with two minima: s low, m above four bits
  };
} tile_block;

_Static_assert(sizeof(tile_block) == DECODED_VECTORS * TILE * 4, "cpu_matmul_scratch");
_Static_assert(TILE_ROWS % TILE == 0, "a tile has whole lanes");

// Decodes columns 32 · index ..< 32 · index + 32 of a packed block for lanes `lane` ..< `lane` + TILE.
typedef void (*unpacker)(const uint8_t *packed, int lane, int index, tile_block *block);

// Rows of activations that are multiplied together; their sums live in registers.
#if CPU_THIS_ISA == CPU_ISA_AVX512VNNI
enum { ROWS_TOGETHER = ROW_GROUP };
#else
enum { ROWS_TOGETHER = ROW_GROUP / 2 };
#endif

static INLINE tile_i32 splat_i32(int32_t x) { return (tile_i32){0} + x; }

// Some rows of activations, from block `first` on of all: block b of the m-th row is block
// first + b · step + m · apart.
typedef struct {
  const cpu_quantised *all;
  int64_t first, step, apart;
} activation_rows;

// The rows from `row` on of `rows`, all in one group or all left over.
static INLINE activation_rows activations_from(const cpu_quantised *x, int64_t row, int64_t rows) {
  row_blocks place = blocks_of_row(x->width, row, rows);
  return (activation_rows){x, place.first, place.step, place.step == 1 ? x->width / 32 : 1};
}

// totals[m] += weights[0 ..< steps] · x of row m, whose quants lie `apart` bytes from each other.
static INLINE void dot_rows(const tile_u32 *weights, int steps, const int8_t *x, int64_t apart,
                            int bits, int rows, tile_i32 *totals) {
#pragma clang loop unroll(full)
  for (int first = 0; first < steps; first += DOT_STEPS(bits)) {
    tile_i32 sums[ROWS_TOGETHER];
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) sums[m] = DOT_BEGIN(totals[m]);
#pragma clang loop unroll(full)
    for (int j = first; j < first + DOT_STEPS(bits); j++) {
#pragma clang loop unroll(full)
      for (int m = 0; m < rows; m++) {
        sums[m] = dot_step(sums[m], weights[j], x + m * apart + 4 * j, bits);
      }
    }
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) totals[m] = dot_end(totals[m], sums[m], bits);
  }
}

// The end of a block with two scales and two minima. `halves` are -32 · Σ x of either half, and at most
// 15 · 32 · 16 · 127 with their minima: exact in f32.
static INLINE tile_f32 add_with_minima(const tile_block *block, tile_i32 first, tile_i32 second,
                                       const int32_t *halves, float x_scale, tile_f32 sum) {
  tile_i32 low = block->half_scales[0], high = block->half_scales[1];
  tile_i32 total = first * (low & 15) + second * (high & 15);
  tile_i32 minima = (low >> 4) * halves[0] + (high >> 4) * halves[1];
  tile_f32 scale = halves_to_floats((tile_u32)block->scale);
  tile_f32 minimum = halves_to_floats((tile_u32)block->scale >> 16) * 0.03125f;
  sum = sum + (scale * x_scale) * __builtin_convertvector(total, tile_f32);
  return sum + (minimum * x_scale) * __builtin_convertvector(minima, tile_f32);
}

static INLINE void dot_block(const tile_block *block, weight_format format,
                             const activation_rows *x, int64_t index, int rows, tile_f32 *sums) {
  int64_t first = x->first + index * x->step;
  const int8_t *quants = x->all->quants + first * 32;
  const float *scales = x->all->scales + first;
  const float *x_sums = x->all->sums + first;
  const int32_t *eights = x->all->eights + first;
  const int32_t *halves = x->all->halves + 2 * first;
  tile_i32 totals[ROWS_TOGETHER];
  tile_i32 seconds[ROWS_TOGETHER];
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) {
    // Σ (w - offset) · x = Σ w · x - offset · Σ x
    seconds[m] = (tile_i32){0};
    if (format.has_halves && format.offset != 0) {
      // Whole multiples of 32, so exact.
      totals[m] = splat_i32(halves[2 * m * x->apart] / (32 / format.offset));
      seconds[m] = splat_i32(halves[2 * m * x->apart + 1] / (32 / format.offset));
    } else if (format.offset != 0) {
      totals[m] = splat_i32(eights[m * x->apart]) * (format.offset / 8);
    } else {
      totals[m] = (tile_i32){0};
    }
  }
  dot_rows(block->weights, 4, quants, 32 * x->apart, format.bits, rows, totals);
  dot_rows(block->weights + 4, 4, quants + 16, 32 * x->apart, format.bits, rows,
           format.has_halves ? seconds : totals);
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) {
    if (format.has_halves && format.has_minimum) {
      sums[m] = add_with_minima(block, totals[m], seconds[m], halves + 2 * m * x->apart,
                                scales[m * x->apart], sums[m]);
      continue;
    }
    tile_i32 total = totals[m];
    if (format.has_halves) {
      total = total * block->half_scales[0] + seconds[m] * block->half_scales[1];
    }
    sums[m] = sums[m] + (block->scale * scales[m * x->apart]) *
                            __builtin_convertvector(total, tile_f32);
    if (format.has_minimum) sums[m] = sums[m] + block->minimum * x_sums[m * x->apart];
  }
}

// TILE rows of a packed tile: its lanes from `lane` on, whose results go to columns from `column` on.
typedef struct {
  const uint8_t *packed;
  int lane;
  int64_t column;
  int columns;  // those that exist
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
  if (tile->columns == TILE) {
    memcpy(output, values, TILE * sizeof(float));
  } else {
    memcpy(output, values, (size_t)tile->columns * sizeof(float));
  }
}

// Memory is read straight ahead. For one or two rows nothing is asked for in advance: the prefetcher
// does that, and better. With more to do for each line it falls behind (SPEED.md, entry 4).
enum { BYTES_AHEAD = 4096 };

static INLINE void multiply_some(const cpu_matmul_args *args, const cpu_step *step,
                                 const weight_tile *tile, weight_format format, unpacker unpack,
                                 int64_t row, int rows) {
  tile_f32 sums[ROWS_TOGETHER];
  activation_rows x =
      activations_from(&args->quantised, row, step->counts[args->output.row_set]);
  int64_t count = args->weight.columns / format.layout.columns;
  int units = format.layout.columns / 32;
  int bytes = TILE_ROWS * format.layout.bytes;
  const uint8_t *packed = tile->packed;
  // Known where they can be, so that addresses are constants.
  if (rows == ROW_GROUP) {
    x.step = ROW_GROUP;
    x.apart = 1;
  } else if (rows == 1) {
    x.apart = 0;
  }
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) sums[m] = (tile_f32){0};
  for (int64_t block = 0; block < count; block++) {
#pragma clang loop unroll(full)
    for (int i = 0; i < units; i++) {
      if (rows > 2) {
#pragma clang loop unroll(full)
        for (int line = bytes * i / units; line < bytes * (i + 1) / units; line += 64) {
          __builtin_prefetch(packed + BYTES_AHEAD + line);
        }
      }
      tile_block unpacked;
      unpack(packed, tile->lane, i, &unpacked);
      dot_block(&unpacked, format, &x, block * units + i, rows, sums);
      // Keeps the compiler from gathering the loads of all units in one place and the sums in
      // another: reads that are not straight ahead lose the prefetcher.
      __asm__ volatile("" ::: "memory");
    }
    packed += bytes;
  }
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) store_tile(args, step, tile, row + m, sums[m]);
}

// From how many rows on tiles are decoded first.
enum { DECODED_ROWS = 128 };

// `rows` are all of the step.
static INLINE bool is_decoded_first(weight_format format, int64_t columns, int64_t rows) {
  bool is_simple = format.bits == 4 && !format.has_minimum;
  return !is_simple && rows >= DECODED_ROWS && columns <= DECODED_COLUMNS;
}

// The same from decoded blocks, for rows of a whole group.
static INLINE void multiply_group(const cpu_matmul_args *args, const cpu_step *step,
                                  const weight_tile *tile, weight_format format,
                                  const tile_block *blocks, int64_t row) {
  tile_f32 sums[ROWS_TOGETHER];
  activation_rows x =
      activations_from(&args->quantised, row, step->counts[args->output.row_set]);
  x.step = ROW_GROUP;
  x.apart = 1;
#pragma clang loop unroll(full)
  for (int m = 0; m < ROWS_TOGETHER; m++) sums[m] = (tile_f32){0};
  for (int64_t i = 0; i < args->weight.columns / 32; i++) {
    dot_block(&blocks[i], format, &x, i, ROWS_TOGETHER, sums);
  }
#pragma clang loop unroll(full)
  for (int m = 0; m < ROWS_TOGETHER; m++) store_tile(args, step, tile, row + m, sums[m]);
}

// Decodes all columns of the tile.
static INLINE void decode_tile(const cpu_matmul_args *args, const weight_tile *tile,
                               weight_format format, unpacker unpack, tile_block *blocks) {
  const uint8_t *packed = tile->packed;
  int units = format.layout.columns / 32;
  for (int64_t block = 0; block < args->weight.columns / 32; block += units) {
#pragma clang loop unroll(full)
    for (int i = 0; i < units; i++) unpack(packed, tile->lane, i, &blocks[block + i]);
    packed += TILE_ROWS * format.layout.bytes;
  }
}

// The first rows read the tile from memory, the others find it in the cache.
static INLINE void multiply_rows(const cpu_matmul_args *args, const cpu_step *step,
                                 const weight_tile *tile, weight_format format, unpacker unpack,
                                 range rows, tile_block *blocks) {
  int64_t row = rows.first;
  int64_t all = step->counts[args->output.row_set];
  if (is_decoded_first(format, args->weight.columns, all)) {
    decode_tile(args, tile, format, unpack, blocks);
    for (; row + ROW_GROUP <= rows.end; row += ROWS_TOGETHER) {
      multiply_group(args, step, tile, format, blocks, row);
    }
  }
  for (; row + ROWS_TOGETHER <= rows.end; row += ROWS_TOGETHER) {
    multiply_some(args, step, tile, format, unpack, row, ROWS_TOGETHER);
  }
  if (ROWS_TOGETHER > 4 && row + 4 <= rows.end) {
    multiply_some(args, step, tile, format, unpack, row, 4);
    row += 4;
  }
  if (row + 2 <= rows.end) {
    multiply_some(args, step, tile, format, unpack, row, 2);
    row += 2;
  }
  if (row < rows.end) multiply_some(args, step, tile, format, unpack, row, 1);
}

// Many rows of activations are taken in chunks that the second cache can hold.
enum { CHUNK_BYTES = 512 * 1024 };

static INLINE int64_t chunk_rows(int64_t columns) {
  int64_t rows = CHUNK_BYTES / (columns * 3 / 2);
  return rows < 32 ? 32 : rows / ROW_GROUP * ROW_GROUP;
}

// Threads split the weight's rows, whole tiles each.
static INLINE void multiply(const cpu_matmul_args *args, const cpu_step *step, int thread,
                            int threads, weight_format format, unpacker unpack) {
  int64_t rows = step->counts[args->output.row_set];
  const cpu_matrix *weight = &args->weight;
  range own = share_columns(weight->rows, thread, threads);
  int64_t chunk = chunk_rows(weight->columns);
  tile_block *blocks = (tile_block *)(step->scratch + thread * step->scratch_bytes);
  for (int64_t first = 0; first < rows; first += chunk) {
    range some = {first, first + chunk < rows ? first + chunk : rows};
    for (int64_t column = own.first; column < own.end; column += TILE) {
      int64_t left = weight->rows - column;
      int lane = (int)(column % TILE_ROWS);
      weight_tile tile = {weight->bytes + (column - lane) * weight->row_bytes, lane, column,
                          left < TILE ? (int)left : TILE};
      multiply_rows(args, step, &tile, format, unpack, some, blocks);
    }
  }
}

#define DEFINE_MATMUL(name, type, bits, offset, has_minimum, has_halves)                      \
  static INLINE weight_format format_##name(void) {                                           \
    return (weight_format){bits, offset, has_minimum, has_halves, layout_of(type)};           \
  }                                                                                           \
  static void matmul_##name##_i8(const void *args, const cpu_step *step, int thread,          \
                                 int threads) {                                               \
    multiply(args, step, thread, threads, format_##name(), unpack_##name);                    \
  }
