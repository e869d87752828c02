// output = (residuals + rms(input)) * scale; next_output = rms(output).
#version 460
#extension GL_GOOGLE_include_directive : require
#include "row.glsl"

layout(constant_id = 1) const bool HAS_GAIN = true;
layout(constant_id = 2) const uint RESIDUALS = 1;  // at most 3
layout(constant_id = 3) const bool HAS_NEXT = false;
layout(constant_id = 4) const bool NEXT_HAS_GAIN = false;

layout(binding = 0) readonly buffer Input { float x[]; };
layout(binding = 1) readonly buffer Gain { float gain[]; };
layout(binding = 2) readonly buffer Residual0 { float residual0[]; };
layout(binding = 3) readonly buffer Residual1 { float residual1[]; };
layout(binding = 4) readonly buffer Residual2 { float residual2[]; };
layout(binding = 5) buffer Output { float y[]; };
layout(binding = 6) readonly buffer NextGain { float next_gain[]; };
layout(binding = 7) writeonly buffer NextOutput { float next[]; };

layout(push_constant) uniform Arguments {
  uint rows, width;
  float epsilon, next_epsilon, scale;
};

void main() {
  uint first = gl_WorkGroupID.x * width;
  float squares = 0;
  for (uint i = LANE; i < width; i += THREADS) squares = fma(x[first + i], x[first + i], squares);
  float factor = inversesqrt(row_sum(squares) / float(width) + epsilon);
  squares = 0;
  for (uint i = LANE; i < width; i += THREADS) {
    float sum = 0;
    if (RESIDUALS > 0) sum += residual0[first + i];
    if (RESIDUALS > 1) sum += residual1[first + i];
    if (RESIDUALS > 2) sum += residual2[first + i];
    float v = (sum + x[first + i] * factor * (HAS_GAIN ? gain[i] : 1.0)) * scale;
    squares = fma(v, v, squares);
    y[first + i] = v;
  }
  if (!HAS_NEXT) return;
  factor = inversesqrt(row_sum(squares) / float(width) + next_epsilon);
  // Each lane reads what it has written itself.
  for (uint i = LANE; i < width; i += THREADS) {
    next[first + i] = y[first + i] * factor * (NEXT_HAS_GAIN ? next_gain[i] : 1.0);
  }
}
