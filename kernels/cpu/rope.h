// Queries and keys on their way to attention: normed per head, turned by position, kept.

// Angles are computed in f64: at position 32768 an f32 angle is off by 2e-3.
static void rope(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_rope_args *args = arguments;
  range rows = share(step->counts[args->row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) {
    double position = (double)step->rows[args->row_set][row].position * args->scale;
    for (int64_t i = 0; i < args->half; i++) {
      double angle = position * args->frequencies[i];
      args->cosines[row * args->half + i] = (float)cos(angle);
      args->sines[row * args->half + i] = (float)sin(angle);
    }
  }
}

// out[i] = x[i] · cos - x[i + half] · sin; out[i + half] = x[i + half] · cos + x[i] · sin.
static INLINE void rotate(float *head, const float *cosines, const float *sines, int64_t half) {
  for (int64_t i = 0; i < half; i += LANES) {
    int64_t left = half - i;
    f32x16 low = load_part(head + i, left);
    f32x16 high = load_part(head + half + i, left);
    f32x16 cosine = load_part(cosines + i, left);
    f32x16 sine = load_part(sines + i, left);
    store_part(head + i, low * cosine - high * sine, left);
    store_part(head + half + i, high * cosine + low * sine, left);
  }
}

static void heads(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_heads_args *args = arguments;
  int64_t half = args->head_dim / 2;
  int64_t count = args->heads.width / args->head_dim;
  range units = share(step->counts[args->heads.row_set] * count, thread, threads);
  for (int64_t unit = units.first; unit < units.end; unit++) {
    int64_t row = unit / count;
    float *head = plane_row(&args->heads, step, row) + unit % count * args->head_dim;
    norm_row(head, &args->norm, args->head_dim, head);
    if (args->cosines) rotate(head, args->cosines + row * half, args->sines + row * half, half);
  }
}

static void append(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_append_args *args = arguments;
  const cpu_cache *cache = &args->cache;
  range units = share(step->counts[CPU_ROWS_ALL] * cache->kv_heads, thread, threads);
  for (int64_t unit = units.first; unit < units.end; unit++) {
    int64_t row = unit / cache->kv_heads;
    int64_t head = unit % cache->kv_heads;
    const cpu_row *source = &step->rows[CPU_ROWS_ALL][row];
    int64_t place =
        source->slot * cache->slot_bytes +
        (head * cache->capacity + source->position % cache->capacity) * cache->row_bytes;
    int64_t column = head * cache->head_dim;
    keep_row(cache->type, plane_row(&args->keys, step, row) + column, cache->head_dim,
             cache->keys + place);
    keep_row(cache->type, plane_row(&args->values, step, row) + column, cache->head_dim,
             cache->values + place);
  }
}
