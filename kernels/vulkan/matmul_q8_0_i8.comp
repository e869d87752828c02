// q8_0: w = q * d. Planes: two of int8 for each block; d of the blocks.
#version 460
#extension GL_GOOGLE_include_directive : require
#define SIGNED_WEIGHTS
#include "begin_i8.glsl"

uint plane_of_d;
float d;

void begin(uint at, uint blocks) { plane_of_d = 2 * blocks; }

void unpack(uint at, uint b) {
  uvec4 first = VECTOR(2 * b);
  uvec4 second = VECTOR(2 * b + 1);
  w[0] = first.x, w[1] = first.y, w[2] = first.z, w[3] = first.w;
  w[4] = second.x, w[5] = second.y, w[6] = second.z, w[7] = second.w;
  d = half_of(VECTOR_WORD(plane_of_d, b / 2), b);
}

float value(int low, int high, ivec2 sums) { return d * float(low + high); }

#include "end_i8.glsl"
