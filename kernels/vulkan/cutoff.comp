// The threshold of a sparse gate: mean + deviations * std, with the biased standard deviation.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "row.glsl"

layout(binding = 0) readonly buffer Gate { float gate[]; };
layout(binding = 1) writeonly buffer Cutoffs { float cutoffs[]; };

layout(push_constant) uniform Arguments {
  uint rows, width;
  float deviations;
};

void main() {
  uint first = gl_WorkGroupID.x * width;
  float sum = 0;
  for (uint i = LANE; i < width; i += THREADS) sum += gate[first + i];
  float mean = row_sum(sum) / float(width);
  float squares = 0;
  for (uint i = LANE; i < width; i += THREADS) {
    float distance = gate[first + i] - mean;
    squares = fma(distance, distance, squares);
  }
  float variance = row_sum(squares) / float(width);
  if (LANE == 0) cutoffs[gl_WorkGroupID.x] = mean + deviations * sqrt(variance);
}
