// The scale of a sub-block without a minimum: w = scale · level. Each lane is a candidate.

// Returns the weighted squared error of each scale.
static INLINE f32x16 scale_errors(const float *x, const float *w, int count, f32x16 scale,
                                  levels set) {
  f32x16 inverse = reciprocal(scale);
  f32x16 error = splat(0);
  for (int i = 0; i < count; i++) {
    f32x16 rest = x[i] - scale * nearest_level(x[i] * inverse, set);
    error += w[i] * (rest * rest);
  }
  return error;
}

// What least squares needs of levels l: the best scale for them is xl / ll, and it lessens the
// error, from that of all zeros, by xl² / ll.
typedef struct {
  f32x16 xl, ll;
} scale_sums;

static INLINE scale_sums sums_of_inverse(const float *x, const float *w, int count, f32x16 inverse,
                                         levels set) {
  scale_sums sums = {splat(0), splat(0)};
  for (int i = 0; i < count; i++) {
    f32x16 level = nearest_level(x[i] * inverse, set);
    f32x16 weighted = w[i] * level;
    sums.xl += weighted * x[i];
    sums.ll += weighted * level;
  }
  return sums;
}

// Returns the value farthest from 0.
static INLINE float extreme_of(const float *x, int count) {
  f32x16 high = load(x), low = load(x);
  for (int i = LANES; i < count; i += LANES) {
    high = larger(high, load(x + i));
    low = smaller(low, load(x + i));
  }
  float top = largest_lane(high), bottom = largest_lane(-low);
  return top > bottom ? top : -bottom;
}

// How much a search tries.
typedef struct {
  int vectors;        // of candidates
  int fits;           // of each candidate by least squares, before the best is chosen
  int rounds;         // of fitting a super-block's shared scales to its codes and these to them
  float first, step;  // where candidates start: see search_scale and search_affine
  float preference;   // for simple candidates: see search_scale
} effort;

#define EFFORT(...) ((effort){__VA_ARGS__})

// Returns the best scale found. Even candidates start with the extreme value at the lowest level
// times a factor, odd ones at the highest; the factor starts `first` steps below 1, and beyond 1
// the extreme value is cut off.
//
// Where many candidates do as well (values on a grid already, few that are not 0), rounding would
// choose among them. `preference` is the part of the gain that it costs to turn the sign, and not
// to start from 1: sub-blocks then agree, and a simple scale is stored without error.
static INLINE float search_scale(const float *x, const float *w, int count, levels set,
                                 effort effort) {
  const i32x16 is_odd = {0, -1, 0, -1, 0, -1, 0, -1, 0, -1, 0, -1, 0, -1, 0, -1};
  float unit = reciprocal_of(extreme_of(x, count));
  f32x16 best_gain = splat(-1), best_scale = splat(0);
  for (int v = 0; v < effort.vectors; v++) {
    const f32x16 pair = {0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7};
    f32x16 factor = 1.0f + effort.step * (pair + ((float)(v * LANES / 2) - effort.first));
    f32x16 inverse = factor * unit * blend(is_odd, splat(set.high), splat(set.low));
    f32x16 scale, gain;
    for (int fit = 0; fit <= effort.fits; fit++) {
      scale_sums sums = sums_of_inverse(x, w, count, inverse, set);
      scale = sums.xl * reciprocal(sums.ll);
      gain = scale * sums.xl;
      inverse = reciprocal(scale);
    }
    gain *= 1.0f - blend(is_odd, splat(effort.preference), splat(0));
    gain *= 1.0f - blend(factor != 1.0f, splat(effort.preference), splat(0));
    i32x16 better = gain > best_gain;
    best_gain = blend(better, gain, best_gain);
    best_scale = blend(better, scale, best_scale);
  }
  return lane_of(best_scale, smallest_lane(-best_gain));
}

// Returns the storable scales near `scale`, the nearest first.
static INLINE f32x16 storable_near(const scaled_block *block, float scale) {
  float stored = lane_of(storable(block, splat(scale)), 0);
  const i32x16 steps = {0, -1, 1, -2, 2, -3, 3, -4, 4, -5, 5, -6, 6, -7, 7, 8};
  return storable_neighbours(block, stored, steps);
}

// Returns the best storable scale near `scale`.
static INLINE float best_stored_scale(const scaled_block *block, int count, float scale,
                                      levels set) {
  f32x16 scales = storable_near(block, scale);
  f32x16 errors = scale_errors(block->x, block->w, count, scales, set);
  return lane_of(scales, smallest_lane(errors));
}
