// Elements of KV caches, [slots, kv_heads, capacity, head_dim] f32 or f16, two at a time. A head has an
// even number of them.

const uint CACHE_F32 = 0, CACHE_F16 = 1;

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
