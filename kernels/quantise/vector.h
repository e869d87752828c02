// Vectors of sixteen lanes. The source is the same for every instruction set: the compiler splits
// the lanes into the registers that exist, and the rounding stays the same. In a search a lane is
// a candidate, not a weight: a loop over the weights then tries sixteen candidates at once, and no
// sum crosses lanes.
#define INLINE inline __attribute__((always_inline))
enum { LANES = 16 };

typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef double f64x16 __attribute__((vector_size(128)));

static INLINE f32x16 splat(float x) {
  return (f32x16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

static INLINE f32x16 load(const float *p) {
  f32x16 v;
  memcpy(&v, p, sizeof v);
  return v;
}

static INLINE void store(float *p, f32x16 v) { memcpy(p, &v, sizeof v); }

static INLINE f32x16 lane_numbers(void) {
  return (f32x16){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
}

// Returns the lanes of `yes` where `mask` is -1, and those of `no` where it is 0.
static INLINE f32x16 blend(i32x16 mask, f32x16 yes, f32x16 no) {
  return (f32x16)((mask & (i32x16)yes) | (~mask & (i32x16)no));
}

// If `a` is NaN, these return `b`.
static INLINE f32x16 smaller(f32x16 a, f32x16 b) { return blend(a < b, a, b); }
static INLINE f32x16 larger(f32x16 a, f32x16 b) { return blend(a > b, a, b); }
static INLINE f32x16 clamp(f32x16 x, float low, float high) {
  return smaller(larger(x, splat(low)), splat(high));
}

static INLINE f32x16 magnitude(f32x16 x) { return (f32x16)((u32x16)x & 0x7FFFFFFFu); }

// Returns 1 / x, and 0 for 0.
static INLINE f32x16 reciprocal(f32x16 x) { return blend(x == 0.0f, splat(0), 1.0f / x); }
static INLINE float reciprocal_of(float x) { return x == 0 ? 0 : 1 / x; }

// Rounds to an integer, half to even. Adding 1.5 · 2²³ leaves no bits for a fraction.
static INLINE f32x16 rounded(f32x16 x) { return (x + 12582912.0f) - 12582912.0f; }
static INLINE float rounded_of(float x) { return (x + 12582912.0f) - 12582912.0f; }

typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x4 __attribute__((vector_size(16)));

// Combines halves of a vector with halves until one value is left.
#define FOLD_LANES(combine, v)                                                               \
  f32x8 a = combine(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),                   \
                    __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));            \
  f32x4 b = combine(__builtin_shufflevector(a, a, 0, 1, 2, 3),                               \
                    __builtin_shufflevector(a, a, 4, 5, 6, 7));                              \
  f32x4 c = combine(b, __builtin_shufflevector(b, b, 2, 3, 0, 1));                           \
  f32x4 d = combine(c, __builtin_shufflevector(c, c, 1, 0, 3, 2));                           \
  return d[0];

static INLINE float sum_lanes(f32x16 v) {
#define ADD(a, b) ((a) + (b))
  FOLD_LANES(ADD, v)
#undef ADD
}

static INLINE float largest_lane(f32x16 v) { FOLD_LANES(__builtin_elementwise_max, v) }

static INLINE double sum_doubles(f64x16 v) {
  double a[LANES];
  memcpy(a, &v, sizeof a);
  for (int half = LANES / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) a[i] += a[i + half];
  }
  return a[0];
}

// Returns the first lane with the smallest value.
static INLINE int smallest_lane(f32x16 v) {
#define STEP(...)                                                          \
  {                                                                        \
    f32x16 other = __builtin_shufflevector(v, v, __VA_ARGS__);             \
    f32x16 other_lane = __builtin_shufflevector(lane, lane, __VA_ARGS__);  \
    i32x16 take = (other < v) | ((other == v) & (other_lane < lane));      \
    v = blend(take, other, v);                                             \
    lane = blend(take, other_lane, lane);                                  \
  }
  f32x16 lane = lane_numbers();
  STEP(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
  STEP(4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
  STEP(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
  STEP(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#undef STEP
  return (int)lane[0];
}

static INLINE float lane_of(f32x16 v, int lane) {
  float a[LANES];
  store(a, v);
  return a[lane];
}
