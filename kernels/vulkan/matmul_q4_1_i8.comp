// q4_1: w = q * d + m. Planes: nibbles of each block; d of the blocks; m of the blocks.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"

uint plane_of_d;
float d, m;

void begin(uint at, uint blocks) { plane_of_d = blocks; }

void unpack(uint at, uint b) {
  unpack_nibbles(VECTOR(b));
  d = half_of(VECTOR_WORD(plane_of_d, b / 2), b);
  m = half_of(VECTOR_WORD(plane_of_d + 1, b / 2), b);
}

float value(int low, int high, ivec2 sums) {
  return fma(d, float(low + high), m * float(sums.x + sums.y));
}

#include "end_i8.glsl"
