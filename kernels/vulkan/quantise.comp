// Activations as int8, in blocks of 32 with scale = largest / 127, rounded half to even, and the sums of the
// two halves of a block, for weights with an offset or a minimum. One lane for a block.
#version 460

layout(constant_id = 0) const uint THREADS = 64;
layout(local_size_x_id = 0) in;

layout(binding = 0) readonly buffer Input { vec4 x[]; };
layout(binding = 1) writeonly buffer Quants { uvec4 quants[]; };  // [rows, blocks, 2]
layout(binding = 2) writeonly buffer Scales { uvec2 scales[]; };  // [rows, blocks]: f32, two int16

layout(push_constant) uniform Arguments { uint rows, blocks; };

uint packed(ivec4 q) {
  uvec4 bytes = uvec4(q) & 0xffu;
  return bytes.x | bytes.y << 8 | bytes.z << 16 | bytes.w << 24;
}

void main() {
  uint column = gl_GlobalInvocationID.x;
  if (column >= blocks) return;
  uint block = gl_WorkGroupID.y * blocks + column;
  uvec4 sizes = uvec4(0);
  // As numbers, the bits of NaNs are the greatest, so a NaN reaches the scale and is not lost.
  for (uint i = 0; i < 8; i++) {
    sizes = max(sizes, floatBitsToUint(x[8 * block + i]) & 0x7fffffffu);
  }
  float largest = uintBitsToFloat(max(max(sizes.x, sizes.y), max(sizes.z, sizes.w)));
  // The inverse of a smaller one would overflow; such a block is zero.
  bool is_zero = largest < 1e-30;
  precise float scale = is_zero ? 0.0 : largest / 127.0;
  precise float inverse = is_zero ? 0.0 : 127.0 / largest;
  ivec2 sums = ivec2(0);
  for (uint half_block = 0; half_block < 2; half_block++) {
    uvec4 words;
    for (uint i = 0; i < 4; i++) {
      ivec4 q = ivec4(roundEven(x[8 * block + 4 * half_block + i] * inverse));
      words[i] = packed(q);
      sums[half_block] += q.x + q.y + q.z + q.w;
    }
    quants[2 * block + half_block] = words;
  }
  scales[block] = uvec2(floatBitsToUint(scale), (uint(sums.x) & 0xffffu) | uint(sums.y) << 16);
}
