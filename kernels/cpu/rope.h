// Rotary position embedding: the angles of each row, and the rotation of a head.

// Angles are computed in f64, because at position 32768 an f32 angle would be off by 2e-3.
static void rope(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_rope_args *args = arguments;
  range rows = share(step->counts[args->row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) {
    double position = (double)step->rows[args->row_set][row].position * args->scale;
    for (int64_t i = 0; i < args->half; i++) {
      double angle = position * args->frequencies[i];
      args->output.cosines[row * args->half + i] = (float)cos(angle);
      args->output.sines[row * args->half + i] = (float)sin(angle);
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
