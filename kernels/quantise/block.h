// A block as the searches see it: values scaled by a power of two to at most 1, so that no square
// overflows, and weights to at most 1.

enum { LARGEST_BLOCK = 256 };

typedef struct {
  float x[LARGEST_BLOCK];
  float w[LARGEST_BLOCK];
  float up, down;  // powers of two: value = x · up, x = value · down
} scaled_block;

// The weight of a column without importance, among the largest of 1. It is too small to cost the
// others anything and makes the choice among equals the one that is best for this column.
#define LEAST_WEIGHT 1e-7f

static INLINE float power_of_two(int exponent) {
  uint32_t bits = (uint32_t)(exponent + 127) << 23;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static INLINE void scale_block(const float *values, const float *importance, int count,
                               scaled_block *block) {
  f32x16 largest = splat(0), most = splat(0);
  for (int i = 0; i < count; i += LANES) {
    largest = larger(magnitude(load(values + i)), largest);
    if (importance) most = larger(load(importance + i), most);
  }
  float peak = largest_lane(largest);
  uint32_t bits;
  memcpy(&bits, &peak, sizeof bits);
  // Far below f16's smallest scale the exponent does not matter, and 2^-exponent must be finite.
  int exponent = (int)(bits >> 23) - 126;
  if (exponent < -60) exponent = -60;
  if (exponent > 120) exponent = 120;
  block->up = power_of_two(exponent);
  block->down = power_of_two(-exponent);
  float weight_scale = importance ? largest_lane(most) : 0;
  for (int i = 0; i < count; i += LANES) {
    store(block->x + i, load(values + i) * block->down);
    f32x16 w = splat(1);
    if (weight_scale > 0) w = load(importance + i) / weight_scale + LEAST_WEIGHT;
    store(block->w + i, w);
  }
}

// Returns the f16 nearest to each scale; scales are of the scaled values.
static INLINE f32x16 storable(const scaled_block *block, f32x16 scale) {
  return nearest_half(scale * block->up) * block->down;
}

// Returns the f16 values around a storable scale.
static INLINE f32x16 storable_neighbours(const scaled_block *block, float scale, i32x16 steps) {
  return half_neighbours(scale * block->up, steps) * block->down;
}

// Returns the sum of importance · (value - decoded)² of sixteen values.
static INLINE f64x16 weighted_errors(const float *values, const float *importance,
                                     f32x16 decoded) {
  f64x16 difference = __builtin_convertvector(load(values), f64x16) -
                      __builtin_convertvector(decoded, f64x16);
  f64x16 square = difference * difference;
  return importance ? square * __builtin_convertvector(load(importance), f64x16) : square;
}

// Returns whether values and importances of a row are finite, and no importance is negative.
static INLINE bool row_is_valid(const float *values, int64_t columns, const float *importance) {
  uint32_t most = 0;
  for (int64_t i = 0; i < columns; i++) {
    uint32_t bits;
    memcpy(&bits, values + i, sizeof bits);
    bits &= 0x7FFFFFFFu;
    most = bits > most ? bits : most;
  }
  if (importance) {
    for (int64_t i = 0; i < columns; i++) {
      // The bits of a negative number are larger than infinity's; + 0.0f makes -0 positive.
      float positive = importance[i] + 0.0f;
      uint32_t bits;
      memcpy(&bits, &positive, sizeof bits);
      most = bits > most ? bits : most;
    }
  }
  return most < 0x7F800000u;
}
