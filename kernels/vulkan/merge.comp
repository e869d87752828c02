// output = rms((first + sum of others) / count), the others brought to the magnitude of the first.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "row.glsl"
#include "magnitude.glsl"

layout(constant_id = 1) const bool HAS_GAIN = true;

layout(binding = 0) readonly buffer First { float x[]; };
layout(binding = 1) readonly buffer Others { float others[]; };  // [other_count, rows, width]
layout(binding = 2) readonly buffer Gain { float gain[]; };
layout(binding = 3) buffer Output { float y[]; };

layout(push_constant) uniform Arguments {
  uint rows, width;
  float epsilon;
  uint plane_stride, other_count;
};

void main() {
  uint first = gl_WorkGroupID.x * width;
  float squares = 0;
  for (uint i = LANE; i < width; i += THREADS) {
    y[first + i] = x[first + i];
    squares = fma(x[first + i], x[first + i], squares);
  }
  float target = sqrt(row_sum(squares) / float(width));
  for (uint s = 0; s < other_count; s++) {
    uint plane = s * plane_stride + first;
    squares = 0;
    for (uint i = LANE; i < width; i += THREADS) {
      squares = fma(others[plane + i], others[plane + i], squares);
    }
    float factor = matching_factor(row_sum(squares) / float(width), target);
    for (uint i = LANE; i < width; i += THREADS) {
      y[first + i] = fma(others[plane + i], factor, y[first + i]);
    }
  }
  squares = 0;
  for (uint i = LANE; i < width; i += THREADS) {
    float v = y[first + i] / float(other_count + 1);
    y[first + i] = v;
    squares = fma(v, v, squares);
  }
  float factor = inversesqrt(row_sum(squares) / float(width) + epsilon);
  for (uint i = LANE; i < width; i += THREADS) y[first + i] *= factor * (HAS_GAIN ? gain[i] : 1.0);
}
