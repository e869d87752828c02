// The activation of a sparse gate in place: gelu(relu(gate - cutoff)), where the cutoff of a row is
// mean + deviations * std, with the biased standard deviation. One workgroup for a row.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "row.glsl"
#include "functions.glsl"

layout(binding = 0) buffer Gate { float gate[]; };

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
  float cutoff = mean + deviations * sqrt(row_sum(squares) / float(width));
  for (uint i = LANE; i < width; i += THREADS) {
    float g = gate[first + i] - cutoff;
    // Written so that a NaN stays one.
    gate[first + i] = g < 0.0 ? 0.0 : gelu(g);
  }
}
