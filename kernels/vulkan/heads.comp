// Each head normed, then its pairs (i, i + head_dim / 2) rotated; one workgroup for a row and head. Input
// and output may be the same buffer, because a lane writes a pair after it has read it.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "row.glsl"

layout(constant_id = 1) const bool HAS_GAIN = true;
layout(constant_id = 2) const bool ROTATES = true;

layout(binding = 0) readonly buffer Input { float x[]; };
layout(binding = 1) readonly buffer Gain { float gain[]; };
layout(binding = 2) readonly buffer Rotations { vec2 rotations[]; };  // [rows, head_dim / 2]: cos, sin
layout(binding = 3) writeonly buffer Output { float y[]; };

layout(push_constant) uniform Arguments {
  uint rows, heads, head_dim;
  float epsilon;
};

void main() {
  uint row = gl_WorkGroupID.x;
  uint first = (row * heads + gl_WorkGroupID.y) * head_dim;
  uint half_dim = head_dim / 2;
  float squares = 0;
  for (uint i = LANE; i < head_dim; i += THREADS) squares = fma(x[first + i], x[first + i], squares);
  float factor = inversesqrt(row_sum(squares) / float(head_dim) + epsilon);
  for (uint i = LANE; i < half_dim; i += THREADS) {
    float low = x[first + i] * factor * (HAS_GAIN ? gain[i] : 1.0);
    float high = x[first + half_dim + i] * factor * (HAS_GAIN ? gain[half_dim + i] : 1.0);
    vec2 turn = ROTATES ? rotations[row * half_dim + i] : vec2(1, 0);
    y[first + i] = low * turn.x - high * turn.y;
    y[first + half_dim + i] = high * turn.x + low * turn.y;
  }
}
