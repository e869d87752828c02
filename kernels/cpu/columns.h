// Products with weights of which only some columns are read: `down` after a sparse gate (sparse.h).
//
// q4_0 `down` is packed by columns: for each 32 columns the scales of all output rows, then the
// nibbles column by column, so that the data of a column is contiguous. Rows are padded to 64.
//
//   block of 32 columns   [scales: rows · f16][column 0: rows / 2 bytes]...[column 31]
//   in a column           byte r of each 32: row 64u + r low, row 64u + 32 + r high

typedef uint8_t u8x32 __attribute__((vector_size(32)));
typedef uint16_t u16x32 __attribute__((vector_size(64)));
typedef int16_t i16x16 __attribute__((vector_size(32)));

// Returns the bytes of 32 columns.
static INLINE int64_t column_block_bytes(int64_t padded) { return padded * BYTES_q4_0; }
_Static_assert(2 + COLUMNS_q4_0 / 2 == BYTES_q4_0, "a row has a scale and nibbles in 32 columns");
_Static_assert(COLUMN_ROWS == 4 * LANES && COLUMN_ROWS == 2 * 32, "add_columns and its bytes");

static void pack_columns(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_pack_args *args = arguments;
  const cpu_matrix *source = &args->source;
  int64_t padded = cpu_column_rows(source->rows);
  range blocks = share(source->columns / COLUMNS_q4_0, thread, threads);
  for (int64_t block = blocks.first; block < blocks.end; block++) {
    uint8_t *scales = args->packed + block * column_block_bytes(padded);
    uint8_t *columns = scales + 2 * padded;
    // Rows beyond the last stay zero, because the memory was zero.
    for (int64_t row = 0; row < source->rows; row++) {
      const uint8_t *stored = source->bytes + row * source->row_bytes + block * BYTES_q4_0;
      memcpy(scales + 2 * row, stored, 2);
      uint8_t *place = columns + row / COLUMN_ROWS * 32 + row % 32;
      int shift = row % COLUMN_ROWS < 32 ? 0 : 4;
      for (int i = 0; i < 16; i++) {
        place[i * (padded / 2)] |= (uint8_t)((stored[2 + i] & 15) << shift);
        place[(i + 16) * (padded / 2)] |= (uint8_t)((stored[2 + i] >> 4) << shift);
      }
    }
  }
}

// The selected columns of one block of a row of activations.
typedef struct {
  const uint8_t *scales;   // of the block
  const int32_t *indices;
  int count;
  const int8_t *quants;  // of the block
  float scale;
  int16_t offset;  // -8 · Σ quants, modulo 2¹⁶
} column_block;

// How many blocks are multiplied while a sum is in registers. All rows of a group of activations
// are multiplied by these blocks before the next ones, so that the weights stay in the cache.
enum { BLOCKS_TOGETHER = 4 };

// sums[0 ..< 64] += the products of each block in turn, for output rows from 64 · unit on. The
// product of 32 columns with (w - 8) fits 16 bits, because it is at most 32 · 8 · 127. Intermediate
// sums may wrap around.
static INLINE void add_columns(const column_block *blocks, int count, int64_t padded, int64_t unit,
                               float *sums) {
  f32x16 values[4];
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) values[v] = load(sums + v * LANES);
  for (int k = 0; k < count; k++) {
    const column_block *x = &blocks[k];
    const uint8_t *columns = x->scales + 2 * padded + unit * 32;
    u16x32 low = {0}, high = {0};
    for (int i = 0; i < x->count; i++) {
      int column = x->indices[i] % 32;
      u8x32 bytes;
      memcpy(&bytes, columns + column * (padded / 2), sizeof bytes);
      uint16_t quant = (uint16_t)(int16_t)x->quants[column];
      low = low + __builtin_convertvector(bytes & 15, u16x32) * quant;
      high = high + __builtin_convertvector(bytes >> 4, u16x32) * quant;
    }
    low = low + (uint16_t)x->offset;
    high = high + (uint16_t)x->offset;
    i16x16 totals[4];
    memcpy(totals, &low, sizeof low);
    memcpy(totals + 2, &high, sizeof high);
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) {
      f32x16 total = __builtin_convertvector(totals[v], f32x16);
      f32x16 scale = widen_f16(x->scales, unit * COLUMN_ROWS + v * LANES, LANES);
      values[v] = values[v] + (scale * x->scale) * total;
    }
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) store(sums + v * LANES, values[v]);
}

// Prefetches the weights that a row needs from the cursor on, for the next BLOCKS_TOGETHER blocks.
static INLINE void prefetch_columns(const cpu_columns_args *args, int64_t row, int64_t cursor,
                                    range units) {
  const int32_t *indices = args->selected.indices + row * args->selected.stride;
  int64_t padded = cpu_column_rows(args->rows);
  int64_t all = args->selected.counts[row];
  int64_t last = -1;
  for (int blocks = 0; cursor < all; cursor++) {
    int64_t block = indices[cursor] / 32;
    const uint8_t *scales = args->columns + block * column_block_bytes(padded);
    if (block != last) {
      if (blocks++ == BLOCKS_TOGETHER) return;
      last = block;
      for (int64_t unit = units.first; unit < units.end; unit++) {
        __builtin_prefetch(scales + 2 * unit * COLUMN_ROWS);
        __builtin_prefetch(scales + 2 * unit * COLUMN_ROWS + 64);
      }
    }
    const uint8_t *column = scales + 2 * padded + indices[cursor] % 32 * (padded / 2);
    for (int64_t unit = units.first; unit < units.end; unit += 2) {
      __builtin_prefetch(column + unit * 32);
    }
  }
}

// Collects the selected columns of a row in BLOCKS_TOGETHER blocks from `first` on, and moves the
// cursor past them. Returns how many of these blocks have selected columns.
static INLINE int gather_blocks(const cpu_columns_args *args, row_blocks place, int64_t row,
                                int64_t first, int64_t *cursor, column_block *blocks) {
  const cpu_quantised *x = &args->quantised;
  const int32_t *indices = args->selected.indices + row * args->selected.stride;
  int64_t padded = cpu_column_rows(args->rows);
  int64_t all = args->selected.counts[row];
  int count = 0;
  for (int64_t block = first; block < first + BLOCKS_TOGETHER; block++) {
    int64_t begin = *cursor;
    while (*cursor < all && indices[*cursor] < 32 * (block + 1)) *cursor += 1;
    if (begin == *cursor) continue;
    int64_t at = place.first + block * place.step;
    blocks[count++] = (column_block){args->columns + block * column_block_bytes(padded),
                                     indices + begin,
                                     (int)(*cursor - begin),
                                     x->quants + at * 32,
                                     x->scales[at],
                                     (int16_t)x->eights[at]};
  }
  return count;
}

// sums[row][...] = the products of the rows `rows` for the output rows of `units`, 64 for each
// unit.
static INLINE void multiply_columns(const cpu_columns_args *args, const cpu_step *step, range rows,
                                    range units, float *sums) {
  int64_t count = step->counts[args->output.row_set];
  int64_t padded = cpu_column_rows(args->rows);
  int64_t cursors[COLUMN_GROUP] = {0};
  int64_t width = (units.end - units.first) * COLUMN_ROWS;
  memset(sums, 0, (size_t)((rows.end - rows.first) * width) * sizeof(float));
  for (int64_t block = 0; block < args->quantised.width / 32; block += BLOCKS_TOGETHER) {
    for (int64_t row = rows.first; row < rows.end; row++) {
      column_block blocks[BLOCKS_TOGETHER];
      int64_t *cursor = &cursors[row - rows.first];
      row_blocks place = blocks_of_row(args->quantised.width, row, count);
      int found = gather_blocks(args, place, row, block, cursor, blocks);
      if (count == 1) prefetch_columns(args, row, *cursor, units);
      float *output = sums + (row - rows.first) * width;
      for (int64_t unit = units.first; unit < units.end && found > 0; unit++) {
        add_columns(blocks, found, padded, unit, output);
        output += COLUMN_ROWS;
      }
    }
  }
}

static void matmul_columns(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_columns_args *args = arguments;
  int64_t count = step->counts[args->output.row_set];
  range units = share(cpu_column_rows(args->rows) / COLUMN_ROWS, thread, threads);
  int64_t first = units.first * COLUMN_ROWS;
  int64_t end = units.end * COLUMN_ROWS < args->rows ? units.end * COLUMN_ROWS : args->rows;
  if (first >= end) return;
  float *sums = (float *)(step->scratch + thread * step->scratch_bytes);
  for (int64_t row = 0; row < count; row += COLUMN_GROUP) {
    range rows = {row, row + COLUMN_GROUP < count ? row + COLUMN_GROUP : count};
    multiply_columns(args, step, rows, units, sums);
    for (int64_t m = rows.first; m < rows.end; m++) {
      memcpy(plane_row(&args->output, step, m) + first,
             sums + (m - rows.first) * (units.end - units.first) * COLUMN_ROWS,
             (size_t)(end - first) * sizeof(float));
    }
  }
}
