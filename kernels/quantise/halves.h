// Conversions between f32 and the bits of f16 (IEEE 754 binary16), sixteen at a time.

// Converts exactly. When the bits are shifted into place, the exponent is 112 too small, for normal
// and subnormal numbers alike. The bits must be finite.
static INLINE f32x16 widen_finite(u32x16 bits) {
  f32x16 value = (f32x16)((bits & 0x7FFFu) << 13) * 0x1p112f;
  return (f32x16)((u32x16)value | (bits & 0x8000u) << 16);
}

// Rounds to nearest, half to even; values beyond f16's range become infinite. The values must not
// be NaN.
static INLINE u32x16 narrow(f32x16 x) {
  u32x16 bits = (u32x16)x;
  u32x16 sign = bits & 0x80000000u;
  u32x16 size = bits ^ sign;
  // For values below 2⁻¹⁴, adding 0.5 rounds to f16's smallest step and leaves the number of steps
  // in the low bits.
  u32x16 small = (u32x16)((f32x16)size + 0.5f) - 0x3F000000u;
  u32x16 normal = (size + 0xFFFu + ((size >> 13) & 1u) - 0x38000000u) >> 13;
  u32x16 is_small = (u32x16)(size < 0x38800000u);
  u32x16 is_large = (u32x16)(size >= 0x477FF000u);
  u32x16 result = (is_small & small) | (~is_small & ~is_large & normal) | (is_large & 0x7C00u);
  return result | sign >> 16;
}

enum { LARGEST_HALF = 0x7BFF };

// Returns the f16 next to each value as f32: at most 65504, and not 0 for a value that is not.
static INLINE f32x16 nearest_half(f32x16 x) {
  u32x16 bits = narrow(x);
  u32x16 sign = bits & 0x8000u;
  u32x16 size = bits & 0x7FFFu;
  u32x16 over = (u32x16)(size > (uint32_t)LARGEST_HALF);
  size = (over & (uint32_t)LARGEST_HALF) | (~over & size);
  size |= (u32x16)((size == 0u) & (u32x16)(x != 0.0f)) & 1u;
  return widen_finite(sign | size);
}

// Returns the f16 values that are `steps` representable values farther from 0 than `x`, an f16.
static INLINE f32x16 half_neighbours(float x, i32x16 steps) {
  u32x16 bits = narrow(splat(x));
  i32x16 size = (i32x16)(bits & 0x7FFFu) + steps;
  size &= ~(size < 0);
  i32x16 over = size > LARGEST_HALF;
  size = (over & LARGEST_HALF) | (~over & size);
  return widen_finite((bits & 0x8000u) | (u32x16)size);
}

static INLINE void put_half(uint8_t *p, float x) {
  uint16_t bits = (uint16_t)narrow(splat(x))[0];
  memcpy(p, &bits, sizeof bits);
}
