// Writes each row's keys and values into its slot of a q8_0 cache, at its position: blocks of 32 with
// scale = largest / 127, rounded half to even. One lane for two blocks, whose scales share a word.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "cache.glsl"
#include "step_rows.glsl"

layout(constant_id = 0) const uint THREADS = 64;
layout(local_size_x_id = 0) in;

layout(binding = 1) readonly buffer Keys { vec4 keys[]; };
layout(binding = 2) readonly buffer Values { vec4 values[]; };
layout(binding = 3) writeonly buffer CachedKeys { uint cached_keys[]; };
layout(binding = 4) writeonly buffer CachedValues { uint cached_values[]; };

layout(push_constant) uniform Arguments { uint rows, kv_heads, head_dim, capacity; };

struct BlockScale {
  uint bits;  // f16
  float inverse;
};

// As numbers, the bits of NaNs are the greatest, so a NaN reaches the scale and is not lost.
BlockScale scale_of(uvec4 sizes) {
  float largest = uintBitsToFloat(max(max(sizes.x, sizes.y), max(sizes.z, sizes.w)));
  // The inverse of a smaller one would overflow; such a block is zero.
  if (largest < 1e-30) return BlockScale(0, 0.0);
  precise float scale = largest / 127.0;
  precise float inverse = 127.0 / largest;
  return BlockScale(half_bits(scale), inverse);
}

uint packed(vec4 x, float inverse) {
  uvec4 bytes = uvec4(ivec4(roundEven(x * inverse))) & 0xffu;
  return bytes.x | bytes.y << 8 | bytes.z << 16 | bytes.w << 24;
}

#define SIZES(x) (floatBitsToUint(x) & 0x7fffffffu)

void main() {
  uint pairs = (head_dim / 32 + 1) / 2;  // of blocks, of a head
  uint pair = gl_GlobalInvocationID.x;
  uint row = gl_WorkGroupID.y;
  if (pair >= kv_heads * pairs) return;
  ivec4 place = step_rows[row];
  uint head = pair / pairs;
  uint line = (uint(place.x) * kv_heads + head) * capacity + uint(place.y) % capacity;
  uint to = line * Q8_0_WORDS(head_dim);
  uint first = 2 * (pair % pairs);
  uint key_scales = 0;
  uint value_scales = 0;
  for (uint block = first; block < min(first + 2, head_dim / 32); block++) {
    uint from = (row * kv_heads + head) * (head_dim / 4) + 8 * block;
    uvec4 key_sizes = uvec4(0);
    uvec4 value_sizes = uvec4(0);
    for (uint i = 0; i < 8; i++) {
      key_sizes = max(key_sizes, SIZES(keys[from + i]));
      value_sizes = max(value_sizes, SIZES(values[from + i]));
    }
    BlockScale key_scale = scale_of(key_sizes);
    BlockScale value_scale = scale_of(value_sizes);
    for (uint i = 0; i < 8; i++) {
      cached_keys[to + 8 * block + i] = packed(keys[from + i], key_scale.inverse);
      cached_values[to + 8 * block + i] = packed(values[from + i], value_scale.inverse);
    }
    key_scales |= key_scale.bits << (16 * (block - first));
    value_scales |= value_scale.bits << (16 * (block - first));
  }
  cached_keys[to + head_dim / 4 + first / 2] = key_scales;
  cached_values[to + head_dim / 4 + first / 2] = value_scales;
}
