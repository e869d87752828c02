// bf16 weights: a plane has eight columns of each row.
#version 460
#extension GL_GOOGLE_include_directive : require
#define GROUP 8
#include "begin_float.glsl"

float[GROUP] unpack(uvec4 v) {
  float[GROUP] w;
  [[unroll]] for (uint i = 0; i < 4; i++) {
    w[2 * i] = uintBitsToFloat(v[i] << 16);
    w[2 * i + 1] = uintBitsToFloat(v[i] & 0xffff0000u);
  }
  return w;
}

#include "matmul_float.glsl"
