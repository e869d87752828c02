// Vectors of sixteen f32 lanes, for everything except matrix products of quantised weights: loads
// with tails, sums in a fixed order, exp and tanh. The source is the same for every instruction
// set: the compiler splits the lanes into the registers that exist, and the rounding stays the
// same.
#ifndef CPU_VECTOR_H
#define CPU_VECTOR_H

#include <math.h>
#include <string.h>

#include "CPUKernels.h"
#include "sizes.h"

#define INLINE inline __attribute__((always_inline))

typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x4 __attribute__((vector_size(16)));
_Static_assert(sizeof(f32x16) == LANES * sizeof(float), "a vector has LANES lanes");

static INLINE f32x16 splat(float x) {
  return (f32x16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

static INLINE f32x16 load(const float *p) {
  f32x16 v;
  memcpy(&v, p, sizeof v);
  return v;
}

static INLINE void store(float *p, f32x16 v) { memcpy(p, &v, sizeof v); }

// Loads the first `count` lanes from memory; the others are 0.
static INLINE f32x16 load_part(const float *p, int64_t count) {
  if (count >= LANES) return load(p);
  f32x16 v = splat(0);
  memcpy(&v, p, (size_t)count * sizeof(float));
  return v;
}

static INLINE void store_part(float *p, f32x16 v, int64_t count) {
  if (count >= LANES) {
    store(p, v);
  } else {
    memcpy(p, &v, (size_t)count * sizeof(float));
  }
}

// Returns the sum of the lanes, by adding halves onto halves.
static INLINE float sum_lanes(f32x16 v) {
  f32x8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
            __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  f32x4 b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
  return (b[0] + b[2]) + (b[1] + b[3]);
}

// Returns the sums of the lanes of 16 vectors, each in the order of sum_lanes.
static INLINE f32x16 sum_lanes_16(const f32x16 v[16]) {
#define HALVES(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
  f32x16 eights[8], fours[4], twos[2];
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) {
    eights[i] =
        HALVES(v[2 * i], v[2 * i + 1], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
        HALVES(v[2 * i], v[2 * i + 1], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30,
               31);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    fours[i] = HALVES(eights[2 * i], eights[2 * i + 1], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19,
                      24, 25, 26, 27) +
               HALVES(eights[2 * i], eights[2 * i + 1], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23,
                      28, 29, 30, 31);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 2; i++) {
    twos[i] = HALVES(fours[2 * i], fours[2 * i + 1], 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24,
                     25, 28, 29) +
              HALVES(fours[2 * i], fours[2 * i + 1], 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23,
                     26, 27, 30, 31);
  }
  return HALVES(twos[0], twos[1], 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
         HALVES(twos[0], twos[1], 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#undef HALVES
}

// Returns the lanes of `yes` where `mask` is -1, and those of `no` where it is 0.
static INLINE f32x16 blend(i32x16 mask, f32x16 yes, f32x16 no) {
  return (f32x16)((mask & (i32x16)yes) | (~mask & (i32x16)no));
}

static INLINE f32x16 smaller(f32x16 a, f32x16 b) { return blend(a < b, a, b); }
static INLINE f32x16 larger(f32x16 a, f32x16 b) { return blend(a > b, a, b); }

// 1.5 · 2²³: adding it rounds to an integer (half to even) and leaves that in the low bits.
#define ROUNDING 12582912.0f

// Returns e^x for x in [-87, 88]; x is clamped to that range, and NaN stays NaN. It is 2^n · e^r
// with n = round(x / ln 2). e^r is computed by its series up to r⁷; because |r| <= ln 2 / 2, the
// next term is at most 5e-9.
static INLINE f32x16 exponential(f32x16 x) {
  x = blend(x < -87.0f, splat(-87.0f), x);
  x = blend(x > 88.0f, splat(88.0f), x);
  f32x16 shifted = x * 1.44269504f + ROUNDING;
  f32x16 n = shifted - ROUNDING;
  // ln 2 in two parts, the first with few enough bits that n · part is exact.
  f32x16 r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  f32x16 sum = splat(1.0f / 5040);
  sum = sum * r + 1.0f / 720;
  sum = sum * r + 1.0f / 120;
  sum = sum * r + 1.0f / 24;
  sum = sum * r + 1.0f / 6;
  sum = sum * r + 0.5f;
  sum = sum * (r * r) + r;
  sum = sum + 1.0f;
  i32x16 power = (i32x16)(((u32x16)shifted << 23) + 0x3F800000u);
  return sum * (f32x16)power;
}

// For |x| < 0.35 it is computed by its series up to x¹¹, of which the next term is 1e-8 of the
// result; otherwise as 1 - 2 / (e^2x + 1). The error is at most six roundings of 2⁻²⁴ of the
// result.
static INLINE f32x16 hyperbolic_tangent(f32x16 x) {
  f32x16 square = x * x;
  f32x16 series = splat(-1382.0f / 155925);
  series = series * square + 62.0f / 2835;
  series = series * square - 17.0f / 315;
  series = series * square + 2.0f / 15;
  series = series * square - 1.0f / 3;
  series = series * square * x + x;
  f32x16 whole = 1.0f - 2.0f / (exponential(x + x) + 1.0f);
  return blend(square < 0.1225f, series, whole);
}

// Returns 0.5x(1 + tanh(u)) with u = √(2/π)(x + 0.044715x³), computed as x / (1 + e^-2u), which has
// no cancellation.
static INLINE f32x16 gelu(f32x16 x) {
  f32x16 cube = x * x * x;
  f32x16 doubled = (x + cube * 0.044715f) * 1.59576912f;
  return x / (exponential(-doubled) + 1.0f);
}

static INLINE float square_root(float x) { return __builtin_elementwise_sqrt(x); }

// --- Rows ----------------------------------------------------------------------------------------

static INLINE float *plane_row(const cpu_plane *plane, const cpu_step *step, int64_t row) {
  return plane->base + ((int64_t)plane->plane * step->counts[plane->row_set] + row) * plane->width;
}

// Returns the same row of another plane of the buffer.
static INLINE float *other_plane_row(const cpu_plane *plane, const cpu_step *step, int64_t offset,
                                     int64_t row) {
  return plane_row(plane, step, row) + offset * step->counts[plane->row_set] * plane->width;
}

typedef struct {
  int64_t first, end;
} range;

// Returns the part of the range 0 ..< `count` that `thread` processes.
static INLINE range share(int64_t count, int thread, int threads) {
  return (range){count * thread / threads, count * (thread + 1) / threads};
}

// Columns are divided among threads in units of 32: a block of int8 activations, two tiles of
// weight rows, two cache lines of f32. So in the next kernel that is split in this way over as many
// columns, a thread has the same columns of a plane again.
enum { COLUMN_UNIT = 32 };
_Static_assert(COLUMN_UNIT % CPU_BLOCK == 0 && COLUMN_UNIT % TILE_ROWS == 0,
               "a unit of columns is whole blocks and tiles");

static INLINE range share_columns(int64_t width, int thread, int threads) {
  range units = share((width + COLUMN_UNIT - 1) / COLUMN_UNIT, thread, threads);
  int64_t end = units.end * COLUMN_UNIT;
  return (range){units.first * COLUMN_UNIT, end < width ? end : width};
}

static INLINE float dot(const float *a, const float *b, int64_t width) {
  f32x16 sum = splat(0);
  for (int64_t i = 0; i < width; i += LANES) {
    sum = sum + load_part(a + i, width - i) * load_part(b + i, width - i);
  }
  return sum_lanes(sum);
}

static INLINE float mean_square(const float *x, int64_t width) {
  return dot(x, x, width) / (float)width;
}

// output = input · factor · gain; may be in place.
static INLINE void scale_row(const float *input, float factor, const float *gain, int64_t width,
                             float *output) {
  for (int64_t i = 0; i < width; i += LANES) {
    f32x16 v = load_part(input + i, width - i) * factor;
    if (gain) v = v * load_part(gain + i, width - i);
    store_part(output + i, v, width - i);
  }
}

static INLINE float norm_factor(const float *input, const cpu_norm *norm, int64_t width) {
  return 1.0f / square_root(mean_square(input, width) + norm->epsilon);
}

// output = rms(input); may be in place.
static INLINE void norm_row(const float *input, const cpu_norm *norm, int64_t width,
                            float *output) {
  scale_row(input, norm_factor(input, norm, width), norm->gain, width, output);
}

#endif
