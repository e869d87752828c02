// RMS norms of rows: alone, and at the end of a sub-block together with its residuals.

static void norm(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_norm_args *args = arguments;
  range rows = share(step->counts[args->output.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) {
    norm_row(plane_row(&args->input, step, row), &args->norm, args->output.width,
             plane_row(&args->output, step, row));
  }
}

static INLINE void add_normed_row(const cpu_add_normed_args *args, const cpu_step *step,
                                  int64_t row) {
  int64_t width = args->output.width;
  const float *input = plane_row(&args->input, step, row);
  float *output = plane_row(&args->output, step, row);
  float factor = norm_factor(input, &args->norm, width);
  f32x16 squares = splat(0);
  for (int64_t i = 0; i < width; i += LANES) {
    int64_t left = width - i;
    f32x16 sum = splat(0);
    for (int64_t r = 0; r < args->residual_count; r++) {
      sum = sum + load_part(plane_row(&args->residuals[r], step, row) + i, left);
    }
    f32x16 v = load_part(input + i, left) * factor;
    if (args->norm.gain) v = v * load_part(args->norm.gain + i, left);
    v = (sum + v) * args->scale;
    squares = squares + v * v;
    store_part(output + i, v, left);
  }
  if (!args->next_output.base) return;
  float mean = sum_lanes(squares) / (float)width;
  scale_row(output, 1.0f / square_root(mean + args->next_norm.epsilon), args->next_norm.gain,
            width, plane_row(&args->next_output, step, row));
}

static void add_normed(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_add_normed_args *args = arguments;
  range rows = share(step->counts[args->output.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) add_normed_row(args, step, row);
}
