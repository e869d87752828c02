// Puts the segments of attention together: output = sum of all weighted values / sum of all powers, each
// brought to the largest score of the row. One workgroup for a row and head.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "row.glsl"
#include "step_rows.glsl"
#include "segments.glsl"

layout(constant_id = 1) const uint HEAD_DIM = 256;

layout(binding = 1) readonly buffer Sums { vec2 sums[]; };
layout(binding = 2) readonly buffer Powers { vec2 powers[]; };
layout(binding = 3) writeonly buffer Output { vec2 y[]; };

void main() {
  uint row = first_row + gl_WorkGroupID.x;
  uint head = gl_WorkGroupID.y;
  uvec2 seen = seen_by(step_rows[row_base + row].y);
  uint count = (seen.y - 1) / SEGMENT - seen.x / SEGMENT + 1;
  uint first = (gl_WorkGroupID.x * heads + head) * segments;
  float largest = powers[first].x;
  for (uint s = 1; s < count; s++) largest = max(largest, powers[first + s].x);
  float total = 0;
  for (uint s = 0; s < count; s++) {
    total += powers[first + s].y * exp(powers[first + s].x - largest);
  }
  for (uint pair = LANE; pair < HEAD_DIM / 2; pair += THREADS) {
    vec2 sum = vec2(0);
    for (uint s = 0; s < count; s++) {
      float factor = exp(powers[first + s].x - largest);
      sum = fma(vec2(factor), sums[(first + s) * (HEAD_DIM / 2) + pair], sum);
    }
    y[(row * heads + head) * (HEAD_DIM / 2) + pair] = sum / total;
  }
}
