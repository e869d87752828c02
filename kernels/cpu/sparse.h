// The feed-forward whose gate is cut: of each row only some columns are left, and only their rows of
// `up` and columns of `down` are read. Every sum is that of the dense kernels without terms that are
// zero there, in the same order, so the results are the same bits.
//
// q4_0 `down` is packed by columns: for each 32 columns the scales of all output rows, then column by
// column their nibbles, so that what belongs to a column lies together. Rows are padded to 64.
//
//   block of 32 columns   [scales: rows · f16][column 0: rows / 2 bytes]...[column 31]
//   in a column           byte r of each 32: row 64u + r low, row 64u + 32 + r high

enum { COLUMN_ROWS = 64 };

typedef uint8_t u8x32 __attribute__((vector_size(32)));
typedef uint16_t u16x32 __attribute__((vector_size(64)));
typedef int16_t i16x16 __attribute__((vector_size(32)));

static INLINE int64_t padded_rows(int64_t rows) {
  return (rows + COLUMN_ROWS - 1) / COLUMN_ROWS * COLUMN_ROWS;
}

// The bytes of 32 columns.
static INLINE int64_t column_block_bytes(int64_t padded) { return padded * 18; }

static void pack_columns(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_pack_args *args = arguments;
  const cpu_matrix *source = &args->source;
  int64_t padded = padded_rows(source->rows);
  range blocks = share(source->columns / 32, thread, threads);
  for (int64_t block = blocks.first; block < blocks.end; block++) {
    uint8_t *scales = args->packed + block * column_block_bytes(padded);
    uint8_t *columns = scales + 2 * padded;
    // Rows beyond the last stay zero, as the memory was.
    for (int64_t row = 0; row < source->rows; row++) {
      const uint8_t *stored = source->bytes + row * source->row_bytes + block * 18;
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

// --- Which columns are left ----------------------------------------------------------------------

// gate = gelu(relu(gate - cutoff)), and the list of what is not zero.
static INLINE int32_t select_row(float *gate, int64_t width, float deviations, int32_t *indices) {
  float cutoff = gate_cutoff(gate, width, deviations);
  int32_t count = 0;
  for (int64_t i = 0; i < width; i += LANES) {
    int64_t left = width - i;
    f32x16 g = load_part(gate + i, left) - cutoff;
    g = select(g < 0.0f, splat(0), g);
    i32x16 kept = g != 0.0f;  // What is no number as well: it must not be lost.
    if (!__builtin_reduce_or(kept)) {
      store_part(gate + i, splat(0), left);
      continue;
    }
    store_part(gate + i, gelu(g), left);
    for (int lane = 0; lane < LANES && lane < left; lane++) {
      indices[count] = (int32_t)(i + lane);
      count -= kept[lane];
    }
  }
  return count;
}

static void select_columns(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_select_args *args = arguments;
  int64_t width = args->gate.width;
  range rows = share(step->counts[args->gate.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) {
    args->selected.counts[row] =
        select_row(plane_row(&args->gate, step, row), width, args->deviations,
                   args->selected.indices + row * args->selected.stride);
  }
}

// --- down ----------------------------------------------------------------------------------------

// The columns of one block of a row of activations.
typedef struct {
  const int32_t *indices;
  int count;
  const int8_t *quants;  // of the block
  float scale;
  int16_t offset;  // -8 · Σ quants, modulo 2¹⁶
} column_block;

// output[0 ..< 64] += the block's columns. Products of 32 columns with (w - 8) fit 16 bits: at most
// 32 · 8 · 127; on the way there sums may wrap.
static INLINE void add_columns(const uint8_t *scales, const uint8_t *columns, int64_t stride,
                               const column_block *x, float *output) {
  u16x32 low = {0}, high = {0};
  for (int i = 0; i < x->count; i++) {
    int column = x->indices[i] % 32;
    u8x32 bytes;
    memcpy(&bytes, columns + column * stride, sizeof bytes);
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
    f32x16 scale = widen_f16(scales, v * LANES, LANES);
    store(output + v * LANES, load(output + v * LANES) + (scale * x->scale) * total);
  }
}

// Rows of activations that go through the blocks of columns together.
enum { COLUMN_GROUP = 8 };

static INLINE void prefetch_block(const uint8_t *block, int64_t padded, range units,
                                  const int32_t *indices, int64_t end, int64_t first_column) {
  for (int64_t unit = units.first; unit < units.end; unit++) {
    __builtin_prefetch(block + 2 * unit * COLUMN_ROWS);
    __builtin_prefetch(block + 2 * unit * COLUMN_ROWS + 64);
  }
  for (int64_t i = 0; i < end && indices[i] < first_column + 32; i++) {
    const uint8_t *column = block + 2 * padded + (indices[i] - first_column) * (padded / 2);
    for (int64_t unit = units.first; unit < units.end; unit += 2) {
      __builtin_prefetch(column + unit * 32);
    }
  }
}

// sums[row][...] = the products of the rows `rows` for the output rows of `units`, 64 each.
static INLINE void multiply_columns(const cpu_columns_args *args, const cpu_step *step, range rows,
                                    range units, float *sums) {
  int64_t count = step->counts[args->output.row_set];
  int64_t padded = padded_rows(args->rows);
  const cpu_quantised *x = &args->quantised;
  int64_t cursors[COLUMN_GROUP] = {0};
  int64_t width = (units.end - units.first) * COLUMN_ROWS;
  memset(sums, 0, (size_t)((rows.end - rows.first) * width) * sizeof(float));
  for (int64_t block = 0; block < x->width / 32; block++) {
    const uint8_t *scales = args->columns + block * column_block_bytes(padded);
    const uint8_t *columns = scales + 2 * padded;
    for (int64_t row = rows.first; row < rows.end; row++) {
      const int32_t *indices = args->selected.indices + row * args->selected.stride;
      int64_t first = cursors[row - rows.first];
      int64_t end = first;
      while (end < args->selected.counts[row] && indices[end] < 32 * (block + 1)) end++;
      if (first == end) continue;
      cursors[row - rows.first] = end;
      int64_t left = args->selected.counts[row] - end;
      if (count == 1 && left > 0) {
        int64_t next = indices[end] / 32;
        prefetch_block(args->columns + next * column_block_bytes(padded), padded, units,
                       indices + end, left, next * 32);
      }
      row_blocks place = blocks_of_row(x->width, row, count);
      int64_t at = place.first + block * place.step;
      column_block some = {indices + first, (int)(end - first), x->quants + at * 32,
                           x->scales[at], (int16_t)x->eights[at]};
      float *output = sums + (row - rows.first) * width;
      for (int64_t unit = units.first; unit < units.end; unit++, output += COLUMN_ROWS) {
        add_columns(scales + 2 * unit * COLUMN_ROWS, columns + unit * 32, padded / 2, &some,
                    output);
      }
    }
  }
}

static void matmul_columns(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_columns_args *args = arguments;
  int64_t count = step->counts[args->output.row_set];
  range units = share(padded_rows(args->rows) / COLUMN_ROWS, thread, threads);
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
