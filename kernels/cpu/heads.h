// Prepares queries, keys and values for attention: each head is normed and rotated by its position.

static void heads(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_heads_args *args = arguments;
  int64_t half = args->head_dim / 2;
  int64_t count = args->heads.width / args->head_dim;
  range units = share(step->counts[args->heads.row_set] * count, thread, threads);
  for (int64_t unit = units.first; unit < units.end; unit++) {
    int64_t row = unit / count;
    int64_t first = unit % count * args->head_dim;
    float *head = plane_row(&args->heads, step, row) + first;
    norm_row(plane_row(&args->source, step, row) + first, &args->norm, args->head_dim, head);
    if (args->rotations.cosines) {
      rotate(head, args->rotations.cosines + row * half, args->rotations.sines + row * half, half);
    }
  }
}
