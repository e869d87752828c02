// q4_0: w = (q - 8) * d. Planes: nibbles of each block; d of the blocks.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"

uint plane_of_d;
float d;

void begin(uint at, uint blocks) { plane_of_d = blocks; }

void unpack(uint at, uint b) {
  unpack_nibbles(VECTOR(b));
  d = half_of(VECTOR_WORD(plane_of_d, b / 2), b);
}

float value(int low, int high, ivec2 sums) { return d * float(low + high - 8 * (sums.x + sums.y)); }

#include "end_i8.glsl"
