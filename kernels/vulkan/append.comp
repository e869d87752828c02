// Writes each row's keys and values into its slot of a cache, at its position.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "cache.glsl"
#include "step_rows.glsl"

layout(constant_id = 0) const uint THREADS = 64;
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = CACHE_F16;

layout(binding = 1) readonly buffer Keys { vec2 keys[]; };
layout(binding = 2) readonly buffer Values { vec2 values[]; };
layout(binding = 3) writeonly buffer CachedKeys { uint cached_keys[]; };
layout(binding = 4) writeonly buffer CachedValues { uint cached_values[]; };

layout(push_constant) uniform Arguments { uint rows, kv_heads, head_dim, capacity; };

void main() {
  uint pair = gl_GlobalInvocationID.x;
  uint row = gl_WorkGroupID.y;
  uint width = kv_heads * head_dim / 2;
  if (pair >= width) return;
  ivec4 place = step_rows[row];
  uint head = pair / (head_dim / 2);
  uint line = (uint(place.x) * kv_heads + head) * capacity + uint(place.y) % capacity;
  uint to = line * (head_dim / 2) + pair % (head_dim / 2);
  vec2 key = keys[row * width + pair];
  vec2 value = values[row * width + pair];
  if (TYPE == CACHE_F16) {
    cached_keys[to] = half_bits(key.x) | half_bits(key.y) << 16;
    cached_values[to] = half_bits(value.x) | half_bits(value.y) << 16;
  } else {
    cached_keys[2 * to] = floatBitsToUint(key.x);
    cached_keys[2 * to + 1] = floatBitsToUint(key.y);
    cached_values[2 * to] = floatBitsToUint(value.x);
    cached_values[2 * to + 1] = floatBitsToUint(value.y);
  }
}
