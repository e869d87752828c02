// A rotation of values along the depth of a product, before both sides are rounded to int8.
//
// A row of activations often has an outlier: one channel is far larger than the others. As the
// scale of the row must reach it, few of the 127 steps are left to the others. So each block of a
// row is multiplied by a normalised Hadamard matrix, H[i][j] = (-1)^(ones in i & j) / √length: it
// spreads an outlier over its block. The matrix is orthogonal, so the product of two rotated rows
// is the product of the rows. This is the online rotation of QuaRot (arXiv 2404.00456).
//
// The order of the additions is fixed, so all instruction sets give the same bits: for half = 1, 2,
// 4, ... < length, values that are `half` apart become their sum and their difference, the lower
// index the sum; then all are multiplied by 1 / √length.

enum { HADAMARD_LENGTH = 256, HADAMARD_VECTORS = HADAMARD_LENGTH / LANES };

// Returns the length of a row's blocks: the largest power of two that divides its width, up to
// HADAMARD_LENGTH.
static INLINE int64_t hadamard_length(int64_t width) {
  int64_t length = width & -width;
  return length < HADAMARD_LENGTH ? length : HADAMARD_LENGTH;
}

// Returns partner + v in the lower lane of each pair, and partner - v in the upper one, by changing
// the sign of v there. The lanes of a pair are `half` apart.
static INLINE f32x16 hadamard_pairs(f32x16 v, f32x16 partners, uint32_t half) {
  const u32x16 lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return partners + (f32x16)((u32x16)v ^ (lanes / half << 31));
}

// Returns the sums and differences of lanes. Blocks that are shorter than a vector lie within one,
// since their length is a power of two.
static INLINE f32x16 hadamard_lanes(f32x16 v, int64_t length) {
#define PARTNERS(...) __builtin_shufflevector(v, v, __VA_ARGS__)
  if (length >= 2) {
    v = hadamard_pairs(v, PARTNERS(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14), 1);
  }
  if (length >= 4) {
    v = hadamard_pairs(v, PARTNERS(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13), 2);
  }
  if (length >= 8) {
    v = hadamard_pairs(v, PARTNERS(4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11), 4);
  }
  if (length >= 16) {
    v = hadamard_pairs(v, PARTNERS(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7), 8);
  }
  return v;
#undef PARTNERS
}

// Rotates blocks of several vectors, a number that is constant where this is inlined.
static INLINE void hadamard_blocks(const float *input, int64_t count, int vectors, float factor,
                                   float *output) {
  for (int64_t first = 0; first < count; first += vectors * LANES) {
    f32x16 v[HADAMARD_VECTORS];
#pragma clang loop unroll(full)
    for (int i = 0; i < vectors; i++) {
      v[i] = hadamard_lanes(load(input + first + i * LANES), LANES);
    }
#pragma clang loop unroll(full)
    for (int half = 1; half < vectors; half *= 2) {
#pragma clang loop unroll(full)
      for (int i = 0; i < vectors; i++) {
        if (i & half) continue;
        f32x16 low = v[i], high = v[i + half];
        v[i] = low + high;
        v[i + half] = low - high;
      }
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < vectors; i++) store(output + first + i * LANES, v[i] * factor);
  }
}

// output = input, which is whole blocks, rotated; may be in place. An infinite value or NaN reaches
// all of its block, as does a sum that overflows; that takes values of 2¹²⁰ or more.
static void hadamard_rotate(const float *input, int64_t count, int64_t length, float *output) {
  float factor = 1.0f / square_root((float)length);
  switch (length / LANES) {
    case 16:
      return hadamard_blocks(input, count, 16, factor, output);
    case 8:
      return hadamard_blocks(input, count, 8, factor, output);
    case 4:
      return hadamard_blocks(input, count, 4, factor, output);
    case 2:
      return hadamard_blocks(input, count, 2, factor, output);
  }
  for (int64_t i = 0; i < count; i += LANES) {
    f32x16 v = hadamard_lanes(load_part(input + i, count - i), length);
    store_part(output + i, v * factor, count - i);
  }
}
