// Per-layer inputs: computed from a table and a projection, and added to the streams in each layer.

static INLINE void per_layer_row(const cpu_per_layer_args *args, const cpu_step *step,
                                 int64_t row) {
  int64_t width = args->width;
  int64_t token = step->rows[args->output.row_set][row].token;
  if (token >= args->table.rows) token = 0;
  float *projected = plane_row(&args->projected, step, row);
  float *output = plane_row(&args->output, step, row);
  look_up(&args->table, token, args->first_column, args->output.width, output);
  for (int64_t first = 0; first < args->output.width; first += width) {
    float *context = projected + first;
    scale_row(context, args->projection_scale, NULL, width, context);
    norm_row(context, &args->norm, width, context);
    for (int64_t i = 0; i < width; i += LANES) {
      int64_t left = width - i;
      f32x16 v = load_part(output + first + i, left) * args->table_scale;
      v = (load_part(context + i, left) + v) * args->output_scale;
      store_part(output + first + i, v, left);
    }
  }
}

static void per_layer(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_per_layer_args *args = arguments;
  range rows = share(step->counts[args->output.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) per_layer_row(args, step, row);
}
static void inject(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_inject_args *args = arguments;
  int64_t width = args->input.width;
  range rows = share(step->counts[args->input.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) {
    float *input = plane_row(&args->input, step, row);
    norm_row(input, &args->norm, width, input);
    for (int64_t stream = args->stream_count > 1 ? 1 : 0; stream < args->stream_count; stream++) {
      float *output = other_plane_row(&args->streams, step, stream, row);
      for (int64_t i = 0; i < width; i += LANES) {
        int64_t left = width - i;
        f32x16 sum = load_part(output + i, left) + load_part(input + i, left);
        store_part(output + i, sum * args->scale, left);
      }
    }
  }
}
