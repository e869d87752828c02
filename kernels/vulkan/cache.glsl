// KV caches: [slots, kv_heads, capacity] lines, each with the values of one head.
//
//   f32, f16  [head_dim values], an even number
//   q8_0      [head_dim / 4 words of int8], then a scale of f16 for each block of 32, two in a word;
//             w = q * scale

const uint CACHE_F32 = 0, CACHE_F16 = 1, CACHE_Q8_0 = 2;

// The words of a line of q8_0.
#define Q8_0_WORDS(head_dim) ((head_dim) / 4 + ((head_dim) / 32 + 1) / 2)

// The bits of the f16 next to x, ties to even, infinity beyond the largest. packHalf2x16 may round
// otherwise, but rows that another device sends must be stored as this device would store them.
uint half_bits(float x) {
  uint bits = floatBitsToUint(x);
  uint sign = (bits >> 16) & 0x8000u;
  uint size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return sign | 0x7e00u;   // NaN
  if (size >= 0x477ff000u) return sign | 0x7c00u;  // 65520 and more
  if (size < 0x38800000u) {
    // A subnormal: its bits are the number of 2^-24. Adding 0.5 rounds there, to even.
    float shifted = uintBitsToFloat(size) + 0.5;
    return sign | (floatBitsToUint(shifted) - 0x3f000000u);
  }
  uint odd = (size >> 13) & 1u;
  return sign | ((size - 0x38000000u + 0xfffu + odd) >> 13);
}
