// The feed-forward with a sparse gate: only some columns of each row are not zero, and only their
// rows of `up` and columns of `down` (columns.h) are read. Every sum is that of the dense kernels
// without the terms that are zero, in the same order, so the results are the same bits.

// --- Which columns are not zero ------------------------------------------------------------------

// gate = gelu(relu(gate - cutoff)); also makes the list of the columns that are not zero.
static INLINE int32_t select_row(float *gate, int64_t width, float deviations, int32_t *indices) {
  float cutoff = gate_cutoff(gate, width, deviations);
  int32_t count = 0;
  for (int64_t i = 0; i < width; i += LANES) {
    int64_t left = width - i;
    f32x16 g = load_part(gate + i, left) - cutoff;
    g = blend(g < 0.0f, splat(0), g);
    i32x16 kept = g != 0.0f;  // NaN as well, because it must not be lost.
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

// --- up ------------------------------------------------------------------------------------------

// Multiplies sixteen rows of a stored weight by one row of activations. The weights are packed
// block by block as they are read. `next` are the rows that come afterwards; they are prefetched
// meanwhile.
static INLINE void multiply_gathered(const cpu_scale_selected_args *args,
                                     const uint8_t *const rows[TILE_ROWS],
                                     const uint8_t *const next[TILE_ROWS], weight_format format,
                                     unpacker unpack, const activation_rows *x,
                                     float products[TILE_ROWS]) {
  int units = format.layout.columns / 32;
  int bytes = format.layout.bytes;
  tile_f32 sums[TILE_ROWS / TILE];
  for (int t = 0; t < TILE_ROWS / TILE; t++) sums[t] = (tile_f32){0};
  int64_t count = args->weight.columns / format.layout.columns;
  int64_t asked = 0;
  for (int64_t block = 0; block < count; block++) {
    for (; asked < (block + 1) * bytes; asked += 64) {
      for (int row = 0; row < TILE_ROWS; row++) __builtin_prefetch(next[row] + asked);
    }
    uint8_t packed[TILE_ROWS * LARGEST_BLOCK];
    pack_block(rows, block * bytes, format.layout, packed);
    for (int t = 0; t < TILE_ROWS / TILE; t++) {
#pragma clang loop unroll(full)
      for (int i = 0; i < units; i++) {
        tile_block unpacked;
        unpack(packed, t * TILE, i, &unpacked);
        dot_block(&unpacked, format, x, block * units + i, 1, &sums[t]);
      }
    }
  }
  memcpy(products, sums, sizeof sums);
}

// Finds the sixteen selected rows from `first` on; beyond the last row, the last one is repeated.
static INLINE void gather_rows(const cpu_scale_selected_args *args, int64_t row, int64_t first,
                               const uint8_t *rows[TILE_ROWS]) {
  const int32_t *indices = args->selected.indices + row * args->selected.stride;
  int64_t last = args->selected.counts[row] - 1;
  for (int lane = 0; lane < TILE_ROWS; lane++) {
    int64_t index = indices[first + lane < last ? first + lane : last];
    rows[lane] = args->weight.bytes + index * args->weight.row_bytes;
  }
}

static INLINE void scale_selected_row(const cpu_scale_selected_args *args, const cpu_step *step,
                                      int64_t row, range groups, weight_format format,
                                      unpacker unpack) {
  activation_rows x =
      activations_from(&args->quantised, row, step->counts[args->gate.row_set]);
  const int32_t *indices = args->selected.indices + row * args->selected.stride;
  float *gate = plane_row(&args->gate, step, row);
  const uint8_t *rows[TILE_ROWS], *next[TILE_ROWS];
  gather_rows(args, row, groups.first * TILE_ROWS, next);
  for (int64_t group = groups.first; group < groups.end; group++) {
    memcpy(rows, next, sizeof rows);
    if (group + 1 < groups.end) gather_rows(args, row, (group + 1) * TILE_ROWS, next);
    float products[TILE_ROWS];
    multiply_gathered(args, rows, next, format, unpack, &x, products);
    int64_t left = args->selected.counts[row] - group * TILE_ROWS;
    for (int lane = 0; lane < TILE_ROWS && lane < left; lane++) {
      int64_t index = indices[group * TILE_ROWS + lane];
      gate[index] = gate[index] * products[lane];
    }
  }
}

// The groups of sixteen of all rows are divided among the threads.
static INLINE void scale_selected(const cpu_scale_selected_args *args, const cpu_step *step,
                                  int thread, int threads, weight_format format,
                                  unpacker unpack) {
  int64_t count = step->counts[args->gate.row_set];
  int64_t all = 0;
  for (int64_t row = 0; row < count; row++) {
    all += (args->selected.counts[row] + TILE_ROWS - 1) / TILE_ROWS;
  }
  range own = share(all, thread, threads);
  int64_t before = 0;
  for (int64_t row = 0; row < count && before < own.end; row++) {
    int64_t groups = (args->selected.counts[row] + TILE_ROWS - 1) / TILE_ROWS;
    int64_t first = own.first > before ? own.first - before : 0;
    int64_t end = own.end - before < groups ? own.end - before : groups;
    if (first < end) {
      scale_selected_row(args, step, row, (range){first, end}, format, unpack);
    }
    before += groups;
  }
}

#define DEFINE_SCALE_SELECTED(name, number, columns, bytes)                                   \
  static void scale_selected_##name(const void *args, const cpu_step *step, int thread,       \
                                    int threads) {                                            \
    scale_selected(args, step, thread, threads, format_##name(), unpack_##name);              \
  }

CPU_TYPES(NO_KERNEL, DEFINE_SCALE_SELECTED)
