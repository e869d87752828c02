// Lookups by token: values of a stored row, and the embedding.

// Values first ..< first + count of a row, whole blocks.
static INLINE void look_up(const cpu_matrix *table, int64_t token, int64_t first, int64_t count,
                           float *values) {
  const uint8_t *row = table->bytes + token * table->row_bytes;
  cpu_type_row type = type_row(table->type);
  dequantise(table->type, row + first / type.columns * type.bytes, count, values);
}

static void embed(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_embed_args *args = arguments;
  int64_t width = args->output.width;
  range rows = share(step->counts[args->output.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) {
    float *output = plane_row(&args->output, step, row);
    look_up(&args->table, step->rows[args->output.row_set][row].token, args->first, width, output);
    scale_row(output, args->scale, NULL, width, output);
  }
}
