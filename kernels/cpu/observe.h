// How large the values of a plane are: what calibration wants to know of a product's input.

static void observe(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_observe_args *args = arguments;
  int64_t rows = step->counts[args->input.row_set];
  range own = share_columns(args->input.width, thread, threads);
  for (int64_t i = own.first; i < own.end; i += LANES) {
    int64_t left = own.end - i;
    f32x16 sum = splat(0);
    for (int64_t row = 0; row < rows; row++) {
      f32x16 v = load_part(plane_row(&args->input, step, row) + i, left);
      sum = sum + v * v;
    }
    store_part(args->sums + i, sum, left);
  }
}
