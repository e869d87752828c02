// AltUp: prediction and correction of the streams, and their expansion and merging.
// Source: Gemma3nTextAltUp, transformers 5.23, models/gemma3n/modeling_gemma3n.py.

// values[0 ..< streams] = r(x) = tanh(weight · rms(x) / width).
static INLINE void route(const cpu_router *router, const float *x, int64_t width, int64_t streams,
                         float *values) {
  float factor = norm_factor(x, &router->norm, width);
  f32x16 sums[CPU_MAX_STREAMS];
  for (int64_t s = 0; s < streams; s++) sums[s] = splat(0);
  for (int64_t i = 0; i < width; i += LANES) {
    int64_t left = width - i;
    f32x16 v = load_part(x + i, left) * factor;
    if (router->norm.gain) v = v * load_part(router->norm.gain + i, left);
    v = v / (float)width;
    for (int64_t s = 0; s < streams; s++) {
      sums[s] = sums[s] + v * load_part(router->weight + s * width + i, left);
    }
  }
  f32x16 lanes = splat(0);
  for (int64_t s = 0; s < streams; s++) lanes[s] = sum_lanes(sums[s]);
  lanes = hyperbolic_tangent(lanes);
  for (int64_t s = 0; s < streams; s++) values[s] = lanes[s];
}

static INLINE void predict_row(const cpu_altup_predict_args *args, const cpu_step *step,
                               int64_t row) {
  int64_t count = args->stream_count;
  int64_t width = args->streams.width;
  float routed[CPU_MAX_STREAMS];
  float factors[CPU_MAX_STREAMS * CPU_MAX_STREAMS];
  route(&args->router, other_plane_row(&args->streams, step, args->active, row), width, count,
        routed);
  for (int64_t i = 0; i < count * count; i++) {
    factors[i] = 0;
    for (int64_t j = 0; j < count; j++) {
      factors[i] += args->coefficients[i * count + j] * routed[j];
    }
  }
  for (int64_t i = 0; i < width; i += LANES) {
    int64_t left = width - i;
    f32x16 streams[CPU_MAX_STREAMS];
    for (int64_t j = 0; j < count; j++) {
      streams[j] = load_part(other_plane_row(&args->streams, step, j, row) + i, left);
    }
    for (int64_t s = 0; s < count; s++) {
      f32x16 sum = streams[s];
      for (int64_t j = 0; j < count; j++) sum = sum + streams[j] * factors[s * count + j];
      store_part(other_plane_row(&args->output, step, s, row) + i, sum, left);
    }
  }
}

static void altup_predict(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_altup_predict_args *args = arguments;
  range rows = share(step->counts[args->streams.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) predict_row(args, step, row);
}

static INLINE void correct_row(const cpu_altup_correct_args *args, const cpu_step *step,
                               int64_t row) {
  int64_t count = args->stream_count;
  int64_t width = args->predictions.width;
  const float *activated = plane_row(&args->activated, step, row);
  const float *active = other_plane_row(&args->predictions, step, args->active, row);
  float *scaled = plane_row(&args->scaled, step, row);
  float routed[CPU_MAX_STREAMS];
  float factors[CPU_MAX_STREAMS];
  route(&args->router, activated, width, count, routed);
  for (int64_t i = 0; i < count; i++) {
    factors[i] = 0;
    for (int64_t j = 0; j < count; j++) {
      factors[i] += args->coefficients[i * count + j] * routed[j];
    }
    factors[i] += 1;
  }
  for (int64_t i = 0; i < width; i += LANES) {
    int64_t left = width - i;
    f32x16 delta = load_part(activated + i, left) - load_part(active + i, left);
    for (int64_t s = 0; s < count; s++) {
      f32x16 v = load_part(other_plane_row(&args->predictions, step, s, row) + i, left);
      v = v + delta * factors[s];
      store_part(other_plane_row(&args->streams, step, s, row) + i, v, left);
      if (s != args->active) continue;
      if (args->output_scale) v = v * load_part(args->output_scale + i, left);
      store_part(scaled + i, v, left);
    }
  }
}

static void altup_correct(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_altup_correct_args *args = arguments;
  range rows = share(step->counts[args->predictions.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) correct_row(args, step, row);
}

// Returns the factor that brings `x` to the root mean square `target`.
static INLINE float matching_factor(const float *x, int64_t width, float target) {
  float square = mean_square(x, width);
  return target / square_root(square > 1e-5f ? square : 1e-5f);
}

static void expand(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_expand_args *args = arguments;
  int64_t width = args->input.width;
  range rows = share(step->counts[args->input.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) {
    const float *input = plane_row(&args->input, step, row);
    float target = square_root(mean_square(input, width));
    memcpy(plane_row(&args->streams, step, row), input, (size_t)width * sizeof(float));
    for (int64_t s = 1; s < args->stream_count; s++) {
      float *stream = other_plane_row(&args->streams, step, s, row);
      scale_row(stream, matching_factor(stream, width, target), NULL, width, stream);
    }
  }
}

static INLINE void merge_row(const cpu_merge_args *args, const cpu_step *step, int64_t row) {
  int64_t width = args->first.width;
  const float *first = plane_row(&args->first, step, row);
  float *output = plane_row(&args->output, step, row);
  float target = square_root(mean_square(first, width));
  float factors[CPU_MAX_STREAMS];
  for (int64_t s = 0; s < args->other_count; s++) {
    factors[s] = matching_factor(other_plane_row(&args->others, step, s, row), width, target);
  }
  for (int64_t i = 0; i < width; i += LANES) {
    int64_t left = width - i;
    f32x16 sum = load_part(first + i, left);
    for (int64_t s = 0; s < args->other_count; s++) {
      f32x16 other = load_part(other_plane_row(&args->others, step, s, row) + i, left);
      sum = sum + other * factors[s];
    }
    store_part(output + i, sum / (float)(args->other_count + 1), left);
  }
  norm_row(output, &args->norm, width, output);
}

static void merge(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_merge_args *args = arguments;
  range rows = share(step->counts[args->output.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) merge_row(args, step, row);
}
