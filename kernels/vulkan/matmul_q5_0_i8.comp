// q5_0: w = (q - 16) * d. Planes: nibbles of each block; high bits, four blocks a plane; d of the blocks.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"

uint plane_of_bits;
float d;

void begin(uint at, uint blocks) { plane_of_bits = blocks; }

void unpack(uint at, uint b) {
  unpack_nibbles(VECTOR(b));
  uint bits = VECTOR_WORD(plane_of_bits + b / 4, b % 4);
  [[unroll]] for (uint k = 0; k < 8; k++) w[k] |= BITS(bits, k) << 4;
  d = half_of(VECTOR_WORD(plane_of_bits + 2, b / 2), b);
}

float value(int low, int high, ivec2 sums) { return d * float(low + high - 16 * (sums.x + sums.y)); }

#include "end_i8.glsl"
