// gate = gelu(gate) * other[first ... ]; with CUTS, what is below the row's cutoff is zero before.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "functions.glsl"

layout(constant_id = 0) const uint THREADS = 64;
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool CUTS = false;

layout(binding = 0) buffer Gate { float gate[]; };
layout(binding = 1) readonly buffer Other { float other[]; };
layout(binding = 2) readonly buffer Cutoffs { float cutoffs[]; };  // [rows]

layout(push_constant) uniform Arguments { uint rows, width, other_width, first; };

void main() {
  uint column = gl_GlobalInvocationID.x;
  uint row = gl_WorkGroupID.y;
  if (column >= width) return;
  float g = gate[row * width + column];
  if (CUTS) {
    // Written so that a NaN stays one.
    g -= cutoffs[row];
    g = g < 0.0 ? 0.0 : g;
  }
  gate[row * width + column] = gelu(g) * other[row * other_width + first + column];
}
