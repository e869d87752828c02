// Weights into the form that products read: what that is stands in packed.h for quantised types and
// in matmul_float_f32.h for floats.

static INLINE void pack_float(const cpu_pack_args *args, range rows) {
  int64_t size = args->source.row_bytes / args->source.columns;
  int64_t row_bytes = (args->source.columns + LANES - 1) / LANES * LANES * size;
  for (int64_t row = rows.first; row < rows.end; row += FLOAT_TILE_ROWS) {
    pack_float_tile(&args->source, row, size, args->packed + row * row_bytes);
  }
}

static void pack(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_pack_args *args = arguments;
  range tiles = share((args->source.rows + TILE_ROWS - 1) / TILE_ROWS, thread, threads);
  range rows = {tiles.first * TILE_ROWS, tiles.end * TILE_ROWS};
  if (layout_of(args->source.type).columns == 0) {
    pack_float(args, rows);
    return;
  }
  for (int64_t row = rows.first; row < rows.end; row += TILE_ROWS) {
    pack_tile(&args->source, row, args->packed + row * args->source.row_bytes);
  }
}
