// Copies the wanted rows out of all rows; the ops that follow are computed for these alone.

static void keep(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_keep_args *args = arguments;
  size_t bytes = (size_t)args->input.width * sizeof(float);
  range rows = share(step->counts[CPU_ROWS_WANTED], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) {
    for (int64_t plane = 0; plane < args->planes; plane++) {
      memcpy(other_plane_row(&args->output, step, plane, row),
             other_plane_row(&args->input, step, plane, step->wanted[row]), bytes);
    }
  }
}
