// iq4_nl: w = step[q] * d. Planes: nibbles of each block; d of the blocks.
#version 460
#extension GL_GOOGLE_include_directive : require
#define SIGNED_WEIGHTS
#include "begin_i8.glsl"
#include "iq4.glsl"

uint plane_of_d;
float d;

void begin(uint at, uint blocks) { plane_of_d = blocks; }

void unpack(uint at, uint b) {
  unpack_nibbles(VECTOR(b));
  look_up_steps();
  d = half_of(VECTOR_WORD(plane_of_d, b / 2), b);
}

float value(int low, int high, ivec2 sums) { return d * float(low + high); }

#include "end_i8.glsl"
