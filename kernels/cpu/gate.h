// The middle of a gated feed-forward: the activation of the gate, multiplied by `up`.

// Returns the threshold of a sparse gate: mean + deviations · std, with the biased standard
// deviation.
static INLINE float gate_cutoff(const float *gate, int64_t width, float deviations) {
  f32x16 sum = splat(0);
  for (int64_t i = 0; i < width; i += LANES) sum = sum + load_part(gate + i, width - i);
  float mean = sum_lanes(sum) / (float)width;
  f32x16 squares = splat(0);
  int64_t whole = width - width % LANES;
  for (int64_t i = 0; i < whole; i += LANES) {
    f32x16 distance = load(gate + i) - mean;
    squares = squares + distance * distance;
  }
  float rest = 0;
  for (int64_t i = whole; i < width; i++) rest += (gate[i] - mean) * (gate[i] - mean);
  float variance = (sum_lanes(squares) + rest) / (float)width;
  return mean + deviations * square_root(variance);
}

// gate = gelu(gate) ⊙ other; if `cuts`, the threshold is applied first.
static INLINE void gate_values(float *gate, const float *other, int64_t count, bool cuts,
                               float cutoff) {
  for (int64_t i = 0; i < count; i += LANES) {
    int64_t left = count - i;
    f32x16 g = load_part(gate + i, left);
    if (cuts) {
      g = g - cutoff;
      g = blend(g < 0.0f, splat(0), g);
    }
    store_part(gate + i, gelu(g) * load_part(other + i, left), left);
  }
}

static void gate(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_gate_args *args = arguments;
  int64_t rows = step->counts[args->gate.row_set];
  range own = share_columns(args->gate.width, thread, threads);
  for (int64_t row = 0; row < rows; row++) {
    gate_values(plane_row(&args->gate, step, row) + own.first,
                plane_row(&args->other, step, row) + args->first + own.first,
                own.end - own.first, false, 0);
  }
}

static void cut_gate(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_cut_gate_args *args = arguments;
  int64_t width = args->gate.width;
  range rows = share(step->counts[args->gate.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) {
    float *values = plane_row(&args->gate, step, row);
    gate_values(values, plane_row(&args->other, step, row), width, true,
                gate_cutoff(values, width, args->deviations));
  }
}
