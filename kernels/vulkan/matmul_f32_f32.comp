// f32 weights: a plane has four columns of each row.
#version 460
#extension GL_GOOGLE_include_directive : require
#define GROUP 4
#include "begin_float.glsl"

void unpack(uvec4 v) {
  [[unroll]] for (uint i = 0; i < 4; i++) w[i] = uintBitsToFloat(v[i]);
}

#include "matmul_float.glsl"
