// Products of quantised weights and int8 activations: the parts that all weight types share. The
// arithmetic is that of dot_block.h for every tile and order of loops.
//
// Weights are packed (packed.h). TILE of a tile's sixteen rows are decoded block by block into
// registers, where up to ROWS_TOGETHER rows of activations use them. For the next rows they are
// decoded again, which costs little because the tile is in the cache by then. Only for many rows,
// and for types whose decoding takes more than a mask and a shift, the whole tile is decoded once
// into the thread's scratch (SPEED.md, entries 1 and 3).

// TILE rows of a packed tile: its lanes from `lane` on. Their results are the output's columns from
// `column` on.
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

// How far to prefetch. Memory is read sequentially. With many operations for each cache line the
// hardware prefetcher falls behind. With one or two rows there are few: AMD's cores read fastest
// without a software prefetch, Intel's with one into the second cache (SPEED.md, entries 4 and 20).
enum { BYTES_AHEAD = 4096, FEW_ROWS = 2, FEW_ROWS_BYTES_AHEAD = 8192 };

#if CPU_THIS_ISA == CPU_ISA_SCALAR
static INLINE bool prefetches_few_rows(void) { return false; }
#else
static INLINE bool prefetches_few_rows(void) { return __builtin_cpu_is("intel"); }
#endif

// Prefetches what is as far ahead as the bytes from `first` to `end` of a block that is being read.
static INLINE void prefetch_packed(const uint8_t *packed, int first, int end, int rows, bool few) {
#pragma clang loop unroll(full)
  for (int line = first; line < end; line += 64) {
    if (rows > FEW_ROWS) {
      __builtin_prefetch(packed + BYTES_AHEAD + line);
    } else if (few) {
      __builtin_prefetch(packed + FEW_ROWS_BYTES_AHEAD + line, 0, 2);
    }
  }
}

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
  bool few = prefetches_few_rows();
  // Set to constants where they are known, so that addresses are constants, too.
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
      prefetch_packed(packed, bytes * i / units, bytes * (i + 1) / units, rows, few);
      tile_block unpacked;
      unpack(packed, tile->lane, i, &unpacked);
      dot_block(&unpacked, format, &x, block * units + i, rows, sums);
      // Keeps the compiler from moving the loads of all units together, because reads that are not
      // sequential lose the help of the hardware prefetcher.
      __asm__ volatile("" ::: "memory");
    }
    packed += bytes;
  }
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) store_tile(args, step, tile, row + m, sums[m]);
}

// From this many rows on, tiles are decoded into scratch first.
enum { DECODED_ROWS = 128 };

// `rows` is the number of all rows of the step.
static INLINE bool is_decoded_first(weight_format format, int64_t columns, int64_t rows) {
  bool is_simple = format.bits == 4 && !format.has_minimum;
  return !is_simple && rows >= DECODED_ROWS && columns <= DECODED_COLUMNS;
}

// Does the same as multiply_some from decoded blocks, for the rows of a whole group.
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

// Many rows of activations are processed in chunks that fit the second-level cache.
enum { CHUNK_BYTES = 512 * 1024 };

static INLINE int64_t chunk_rows(int64_t columns) {
  int64_t rows = CHUNK_BYTES / (columns * 3 / 2);
  return rows < 32 ? 32 : rows / ROW_GROUP * ROW_GROUP;
}

// The weight's rows are divided among the threads in whole tiles.
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

// Defines the product kernel of a type from the format of its weights and from unpack_<name>.
#define DEFINE_MATMUL(name, bits, offset, has_minimum, has_halves)                            \
  static INLINE weight_format format_##name(void) {                                           \
    return (weight_format){bits, offset, has_minimum, has_halves, layout_##name()};           \
  }                                                                                           \
  static void matmul_##name##_i8(const void *args, const cpu_step *step, int thread,          \
                                 int threads) {                                               \
    multiply(args, step, thread, threads, format_##name(), unpack_##name);                    \
  }
