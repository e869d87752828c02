// Packs weights into the form that products read. packed.h describes it for quantised types, and
// matmul_float_f32.h for floats.

static INLINE void pack_float(const cpu_pack_args *args, range rows) {
  int64_t size = args->source.row_bytes / args->source.columns;
  int64_t row_bytes = (args->source.columns + LANES - 1) / LANES * LANES * size;
  for (int64_t row = rows.first; row < rows.end; row += FLOAT_TILE_ROWS) {
    pack_float_tile(&args->source, row, size, args->packed + row * row_bytes);
  }
}

static INLINE block_layout layout_of(cpu_type type) {
  switch (type) {
#define LAYOUT(name, number, columns, bytes) \
  case CPU_##name:                           \
    return layout_##name();
    CPU_TYPES(NO_KERNEL, LAYOUT)
#undef LAYOUT
    default:
      return (block_layout){0};
  }
}

// Packs a block of sixteen rows, `offset` bytes from pointers into each.
static INLINE void pack_block(const uint8_t *const rows[TILE_ROWS], int64_t offset,
                              block_layout layout, uint8_t *packed) {
  if (!layout.is_dealt) {
    turn_block(rows, offset, layout, packed);
    return;
  }
  uint8_t turned[TILE_ROWS * LARGEST_BLOCK];
  turn_block(rows, offset, layout, turned);
  int halves = 2 * TILE_ROWS * layout.half_count;
  memcpy(packed, turned, (size_t)halves);
#define DEAL(name, number, columns, bytes) \
  if (layout.type == CPU_##name) deal_##name(turned + halves, packed + halves);
  CPU_TYPES(NO_KERNEL, DEAL)
#undef DEAL
}

static INLINE void pack_tile(const cpu_matrix *source, int64_t first_row, uint8_t *packed) {
  static const uint8_t absent[LARGEST_BLOCK] = {0};
  block_layout layout = layout_of(source->type);
  const uint8_t *rows[TILE_ROWS];
  for (int row = 0; row < TILE_ROWS; row++) {
    rows[row] = first_row + row < source->rows
                    ? source->bytes + (first_row + row) * source->row_bytes
                    : absent;
  }
  for (int64_t column = 0; column < source->columns; column += layout.columns) {
    pack_block(rows, 0, layout, packed);
    packed += TILE_ROWS * layout.bytes;
    for (int row = 0; row < TILE_ROWS; row++) {
      if (rows[row] != absent) rows[row] += layout.bytes;
    }
  }
}

static void pack(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_pack_args *args = arguments;
  range tiles = share((args->source.rows + TILE_ROWS - 1) / TILE_ROWS, thread, threads);
  range rows = {tiles.first * TILE_ROWS, tiles.end * TILE_ROWS};
  if (!type_row(args->source.type).is_quantised) {
    pack_float(args, rows);
    return;
  }
  for (int64_t row = rows.first; row < rows.end; row += TILE_ROWS) {
    pack_tile(&args->source, row, args->packed + row * args->source.row_bytes);
  }
}
