// Types whose sub-blocks share an f16 scale and an f16 minimum: w = scale · code · level -
// minimum · code', with unsigned codes for each sub-block. Each lane is a candidate.

typedef struct {
  int sub_blocks, length;
  float high, high_code;
  effort effort;
} affine_format;

typedef struct {
  float scale, minimum;  // storable
  float codes[MOST_SUB_BLOCKS], minimum_codes[MOST_SUB_BLOCKS];
  float error;
} affine_choice;

// Returns the codes of the minimum next to what a sub-block wants, given its scale.
static INLINE f32x16 wanted_minimum(affine_fit fit, f32x16 step, f32x16 inverse_minimum) {
  return (step * fit.mean_level - fit.mean) * inverse_minimum;
}

// Returns the errors of super-block scales and minima, each with the best of the codes next to
// what the sub-blocks want.
static INLINE f32x16 shared_affine_errors(const scaled_block *block, affine_format format,
                                          const affine_fit *fits, f32x16 scale, f32x16 minimum) {
  f32x16 inverse = reciprocal(scale), inverse_minimum = reciprocal(minimum);
  f32x16 sum = splat(0);
  for (int sub = 0; sub < format.sub_blocks; sub++) {
    const float *x = block->x + sub * format.length, *w = block->w + sub * format.length;
    f32x16 center = rounded(clamp(fits[sub].scale * inverse, 0, format.high_code));
    f32x16 least = splat(INFINITY);
    for (int step = -1; step <= 1; step++) {
      f32x16 code = clamp(center + (float)step, 0, format.high_code);
      f32x16 wanted = wanted_minimum(fits[sub], scale * code, inverse_minimum);
      f32x16 minimum_code = rounded(clamp(wanted, 0, format.high_code));
      f32x16 error = affine_errors(x, w, format.length, scale * code, minimum * minimum_code,
                                   format.high);
      least = smaller(error, least);
    }
    sum += least;
  }
  return sum;
}

// Chooses the codes for the scale and minimum in `choice`, and sets the error.
static INLINE void choose_affine_codes(const scaled_block *block, affine_format format,
                                       const affine_fit *fits, affine_choice *choice) {
  const f32x16 fast = FAST_STEPS, slow = SLOW_STEPS;
  float inverse = reciprocal_of(choice->scale), inverse_minimum = reciprocal_of(choice->minimum);
  choice->error = 0;
  for (int sub = 0; sub < format.sub_blocks; sub++) {
    const float *x = block->x + sub * format.length, *w = block->w + sub * format.length;
    f32x16 code = rounded(clamp(splat(fits[sub].scale * inverse), 0, format.high_code));
    code = clamp(code + slow, 0, format.high_code);
    f32x16 wanted = wanted_minimum(fits[sub], choice->scale * code, splat(inverse_minimum));
    f32x16 minimum_code = rounded(clamp(wanted, 0, format.high_code));
    minimum_code = clamp(minimum_code + fast, 0, format.high_code);
    f32x16 errors = affine_errors(x, w, format.length, choice->scale * code,
                                  choice->minimum * minimum_code, format.high);
    int lane = smallest_lane(errors);
    choice->codes[sub] = lane_of(code, lane);
    choice->minimum_codes[sub] = lane_of(minimum_code, lane);
    choice->error += lane_of(errors, lane);
  }
}

// Moves the scale and minimum in `choice` to the best storable ones near those of least squares
// for the levels that they and the codes give. Sets each fit to what its sub-block wants then.
static INLINE void refit_affine(const scaled_block *block, affine_format format, affine_fit *fits,
                                affine_choice *choice) {
  // Products of u = code · level, v = -minimum code, and x.
  float uu = 0, uv = 0, vv = 0, xu = 0, xv = 0;
  for (int sub = 0; sub < format.sub_blocks; sub++) {
    float step = choice->scale * choice->codes[sub], inverse = reciprocal_of(step);
    float offset = choice->minimum * choice->minimum_codes[sub];
    f32x16 w_sum = splat(0), l_sum = splat(0), ll_sum = splat(0), x_sum = splat(0),
           xl_sum = splat(0);
    for (int i = sub * format.length; i < (sub + 1) * format.length; i += LANES) {
      f32x16 x = load(block->x + i), w = load(block->w + i);
      f32x16 level = clamp(rounded((x + offset) * inverse), 0, format.high);
      f32x16 weighted = w * level;
      w_sum += w;
      x_sum += w * x;
      l_sum += weighted;
      ll_sum += weighted * level;
      xl_sum += weighted * x;
    }
    float c = choice->codes[sub], v = -choice->minimum_codes[sub];
    float total = sum_lanes(w_sum), l = sum_lanes(l_sum), total_x = sum_lanes(x_sum);
    uu += c * c * sum_lanes(ll_sum);
    uv += c * v * l;
    vv += v * v * total;
    xu += c * sum_lanes(xl_sum);
    xv += v * total_x;
    fits[sub] = (affine_fit){step, offset, l / total, total_x / total};
  }
  float determinant = uu * vv - uv * uv;
  float scale = choice->scale, minimum = choice->minimum;
  if (determinant > 0) {
    scale = (xu * vv - xv * uv) / determinant;
    minimum = (xv * uu - xu * uv) / determinant;
  }
  if (!(determinant > 0 && minimum >= 0)) scale = xu * reciprocal_of(uu), minimum = 0;
  const i32x16 fast = FAST_STEPS, slow = SLOW_STEPS;
  f32x16 scales = storable_neighbours(block, lane_of(storable(block, splat(scale)), 0), fast);
  f32x16 minima = storable_neighbours(block, lane_of(storable(block, splat(minimum)), 0), slow);
  f32x16 errors = splat(0);
  for (int sub = 0; sub < format.sub_blocks; sub++) {
    const float *x = block->x + sub * format.length, *w = block->w + sub * format.length;
    errors += affine_errors(x, w, format.length, scales * choice->codes[sub],
                            minima * choice->minimum_codes[sub], format.high);
  }
  int lane = smallest_lane(errors);
  choice->scale = lane_of(scales, lane);
  choice->minimum = lane_of(minima, lane);
}

// Sets the scale and minimum in `choice` to the best found for the fits of the sub-blocks. The
// candidates give the largest scale and offset the highest code, a smaller one, or one that is cut
// off.
static INLINE void choose_shared(const scaled_block *block, affine_format format,
                                 const affine_fit *fits, affine_choice *choice) {
#define FOUR_TIMES(a, b, c, d) {a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d}
#define EACH_FOUR_TIMES(a, b, c, d) {a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d}
  static const float scale_parts[2][LANES] = {FOUR_TIMES(1, .97f, .94f, 1.03f),
                                              FOUR_TIMES(.9f, 1.2f, 1.6f, 2.4f)};
  static const float minimum_parts[2][LANES] = {EACH_FOUR_TIMES(1, .97f, .94f, 1.03f),
                                                EACH_FOUR_TIMES(.9f, 1.2f, 1.6f, 2.4f)};
#undef FOUR_TIMES
#undef EACH_FOUR_TIMES
  float most = 0, most_offset = 0, least = INFINITY;
  for (int sub = 0; sub < format.sub_blocks; sub++) {
    if (fits[sub].scale > most) most = fits[sub].scale;
    if (fits[sub].offset > most_offset) most_offset = fits[sub].offset;
  }
  for (int v = 0; v < 2; v++) {
    f32x16 codes = format.high_code * load(scale_parts[v]);
    f32x16 minimum_codes = format.high_code * load(minimum_parts[v]);
    f32x16 scales = storable(block, most / codes);
    f32x16 minima = storable(block, most_offset / minimum_codes);
    f32x16 errors = shared_affine_errors(block, format, fits, scales, minima);
    int lane = smallest_lane(errors);
    if (v > 0 && !(lane_of(errors, lane) < least)) continue;
    least = lane_of(errors, lane);
    choice->scale = lane_of(scales, lane);
    choice->minimum = lane_of(minima, lane);
  }
}

// Returns the best scale, minimum and codes found for a super-block.
static INLINE affine_choice search_affine_codes(const scaled_block *block, affine_format format) {
  affine_fit fits[MOST_SUB_BLOCKS];
  for (int sub = 0; sub < format.sub_blocks; sub++) {
    const float *x = block->x + sub * format.length, *w = block->w + sub * format.length;
    fits[sub] = search_affine(x, w, format.length, format.high, true, format.effort);
  }
  affine_choice best = {0};
  choose_shared(block, format, fits, &best);
  choose_affine_codes(block, format, fits, &best);
  for (int round = 0; round < format.effort.rounds; round++) {
    affine_choice next = best;
    refit_affine(block, format, fits, &next);
    choose_affine_codes(block, format, fits, &next);
    if (!(next.error < best.error)) break;
    best = next;
  }
  return best;
}
