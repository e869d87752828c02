// output = rms(input).
#version 460
#extension GL_GOOGLE_include_directive : require
#include "row.glsl"

layout(constant_id = 1) const bool HAS_GAIN = true;

layout(binding = 0) readonly buffer Input { float x[]; };
layout(binding = 1) readonly buffer Gain { float gain[]; };
layout(binding = 2) writeonly buffer Output { float y[]; };

layout(push_constant) uniform Arguments {
  uint rows, width;
  float epsilon;
};

void main() {
  uint first = gl_WorkGroupID.x * width;
  float squares = 0;
  for (uint i = LANE; i < width; i += THREADS) squares = fma(x[first + i], x[first + i], squares);
  float factor = inversesqrt(row_sum(squares) / float(width) + epsilon);
  for (uint i = LANE; i < width; i += THREADS) {
    y[first + i] = x[first + i] * factor * (HAS_GAIN ? gain[i] : 1.0);
  }
}
