// f32 weights: a plane has four columns of each row.
#version 460
#extension GL_GOOGLE_include_directive : require
#define GROUP 4
#include "begin_float.glsl"

float[GROUP] unpack(uvec4 v) {
  float[GROUP] w;
  [[unroll]] for (uint i = 0; i < 4; i++) w[i] = uintBitsToFloat(v[i]);
  return w;
}

#include "matmul_float.glsl"
