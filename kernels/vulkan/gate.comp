// gate = gelu(gate) * other[first ... ].
#version 460
#extension GL_GOOGLE_include_directive : require
#include "functions.glsl"

layout(constant_id = 0) const uint THREADS = 64;
layout(local_size_x_id = 0) in;

layout(binding = 0) buffer Gate { float gate[]; };
layout(binding = 1) readonly buffer Other { float other[]; };

layout(push_constant) uniform Arguments { uint rows, width, other_width, first; };

void main() {
  uint column = gl_GlobalInvocationID.x;
  uint row = gl_WorkGroupID.y;
  if (column >= width) return;
  float g = gate[row * width + column];
  gate[row * width + column] = gelu(g) * other[row * other_width + first + column];
}
