// Plane 0 of streams = input; each other plane, in place, is brought to the magnitude of the input.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "row.glsl"
#include "magnitude.glsl"

layout(binding = 0) readonly buffer Input { float x[]; };
layout(binding = 1) buffer Streams { float streams[]; };

layout(push_constant) uniform Arguments { uint rows, width, plane_stride, stream_count; };

void main() {
  uint first = gl_WorkGroupID.x * width;
  float squares = 0;
  for (uint i = LANE; i < width; i += THREADS) {
    streams[first + i] = x[first + i];
    squares = fma(x[first + i], x[first + i], squares);
  }
  float target = sqrt(row_sum(squares) / float(width));
  for (uint s = 1; s < stream_count; s++) {
    uint plane = s * plane_stride + first;
    squares = 0;
    for (uint i = LANE; i < width; i += THREADS) {
      squares = fma(streams[plane + i], streams[plane + i], squares);
    }
    float factor = matching_factor(row_sum(squares) / float(width), target);
    for (uint i = LANE; i < width; i += THREADS) streams[plane + i] *= factor;
  }
}
