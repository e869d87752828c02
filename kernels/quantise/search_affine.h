// The scale and minimum of a sub-block: w = scale · level - offset, with levels from 0 up. Each
// lane is a candidate.

// Returns the weighted squared error of each scale and offset.
static INLINE f32x16 affine_errors(const float *x, const float *w, int count, f32x16 scale,
                                   f32x16 offset, float high) {
  f32x16 inverse = reciprocal(scale);
  f32x16 error = splat(0);
  for (int i = 0; i < count; i++) {
    f32x16 raised = x[i] + offset;
    f32x16 rest = raised - scale * clamp(rounded(raised * inverse), 0, high);
    error += w[i] * (rest * rest);
  }
  return error;
}

// A scale and an offset, and what the offset becomes with another scale: the weighted mean of the
// levels times that, less the weighted mean of the values.
typedef struct {
  float scale, offset, mean_level, mean;
} affine_fit;

typedef struct {
  f32x16 l, ll, xl;
} affine_sums;

static INLINE affine_sums sums_of_levels(const float *x, const float *w, int count, f32x16 inverse,
                                         f32x16 shift, float high) {
  affine_sums sums = {splat(0), splat(0), splat(0)};
  for (int i = 0; i < count; i++) {
    f32x16 level = clamp(rounded(x[i] * inverse + shift), 0, high);
    f32x16 weighted = w[i] * level;
    sums.l += weighted;
    sums.ll += weighted * level;
    sums.xl += weighted * x[i];
  }
  return sums;
}

// Returns the fraction of numbers that are not negative.
static INLINE f32x16 fraction(f32x16 x) {
  f32x16 whole = rounded(x);
  return x - whole + (f32x16)((x < whole) & (i32x16)splat(1));
}

// Moves all levels down as far as the offset stays, and the lowest value's level becomes, at least
// 0. The fit is as good; a smaller offset can be stored with smaller steps.
static INLINE void lower_levels(float bottom, affine_fit *fit) {
  if (!(fit->scale > 0)) return;
  float lowest = rounded_of((bottom + fit->offset) / fit->scale);
  float most = floorf(fit->offset / fit->scale);
  float steps = lowest < most ? lowest : most;
  if (!(steps > 0)) return;
  fit->offset -= steps * fit->scale;
  fit->mean_level -= steps;
}

// Returns the best fit found. Candidates start with different parts of the range of values cut off
// at either end, from `first` to `first` + `step` levels, and are then fitted by least squares,
// several times. If `only_lowers`, the offset is never negative.
static INLINE affine_fit search_affine(const float *x, const float *w, int count, float high,
                                       bool only_lowers, effort effort) {
  f32x16 most = load(x), least = load(x);
  f32x16 sum_w = load(w), sum_x = load(w) * load(x);
  for (int i = LANES; i < count; i += LANES) {
    most = larger(most, load(x + i));
    least = smaller(least, load(x + i));
    sum_w += load(w + i);
    sum_x += load(w + i) * load(x + i);
  }
  float top = largest_lane(most), bottom = -largest_lane(-least);
  float total = sum_lanes(sum_w), total_x = sum_lanes(sum_x);
  float mean = total_x / total;
  if (only_lowers && bottom > 0) bottom = 0;

  f32x16 best_gain = splat(-INFINITY), best_scale = splat(0), best_offset = splat(-mean);
  f32x16 best_level = splat(0);
  if (only_lowers) best_offset = larger(best_offset, splat(0));
  for (int v = 0; v < effort.vectors; v++) {
    f32x16 number = lane_numbers() + (float)(v * LANES);
    // Multiples of these fractions, of powers of the plastic ratio, fill the square evenly.
    // The first candidate cuts nothing off.
    float whole = -effort.first / effort.step;
    f32x16 low_part = fraction(number * 0.7548777f + whole);
    f32x16 high_part = fraction(number * 0.5698403f + whole);
    float level = (top - bottom) / high;
    f32x16 start = bottom + level * (effort.first + effort.step * low_part);
    f32x16 end = top - level * (effort.first + effort.step * high_part);
    f32x16 inverse = high * reciprocal(end - start);
    f32x16 shift = -start * inverse;
    f32x16 scale, offset, gain, mean_level;
    for (int fit = 0; fit <= effort.fits; fit++) {
      affine_sums sums = sums_of_levels(x, w, count, inverse, shift, high);
      mean_level = sums.l * (1 / total);
      f32x16 variance = sums.ll - sums.l * mean_level;
      f32x16 covariance = sums.xl - sums.l * mean;
      scale = covariance * reciprocal(variance);
      offset = scale * mean_level - mean;
      gain = covariance * scale;
      if (only_lowers) {
        i32x16 raises = offset < 0.0f;
        scale = blend(raises, sums.xl * reciprocal(sums.ll), scale);
        gain = blend(raises, scale * sums.xl - total_x * mean, gain);
        offset = blend(raises, splat(0), offset);
      }
      inverse = reciprocal(scale);
      shift = offset * inverse;
    }
    gain *= 1.0f - blend(number == 0.0f, splat(0), splat(effort.preference));
    i32x16 better = (gain > best_gain) & (scale > 0.0f);
    best_gain = blend(better, gain, best_gain);
    best_scale = blend(better, scale, best_scale);
    best_offset = blend(better, offset, best_offset);
    best_level = blend(better, mean_level, best_level);
  }
  int lane = smallest_lane(-best_gain);
  affine_fit fit = {lane_of(best_scale, lane), lane_of(best_offset, lane),
                    lane_of(best_level, lane), mean};
  if (only_lowers) lower_levels(bottom, &fit);
  return fit;
}

// Four steps of one kind for each of four of another.
#define FAST_STEPS {0, -1, 1, 2, 0, -1, 1, 2, 0, -1, 1, 2, 0, -1, 1, 2}
#define SLOW_STEPS {0, 0, 0, 0, -1, -1, -1, -1, 1, 1, 1, 1, 2, 2, 2, 2}

// Makes a fit storable: chooses the best f16 scale and offset near it.
static INLINE void store_affine(const scaled_block *block, int count, float high,
                                affine_fit *fit) {
  const i32x16 fast = FAST_STEPS, slow = SLOW_STEPS;
  float scale = lane_of(storable(block, splat(fit->scale)), 0);
  float offset = lane_of(storable(block, splat(fit->offset)), 0);
  f32x16 scales = storable_neighbours(block, scale, fast);
  f32x16 offsets = storable_neighbours(block, offset, slow);
  f32x16 errors = affine_errors(block->x, block->w, count, scales, offsets, high);
  int lane = smallest_lane(errors);
  fit->scale = lane_of(scales, lane);
  fit->offset = lane_of(offsets, lane);
}
