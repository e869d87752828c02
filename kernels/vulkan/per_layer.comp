// output = (rms(projected * projection_scale) + table * table_scale) * output_scale, the norm over the values
// of each layer. One workgroup for a row and layer. `table` has the looked-up rows.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "row.glsl"

layout(constant_id = 1) const bool HAS_GAIN = true;

layout(binding = 0) readonly buffer Projected { float x[]; };
layout(binding = 1) readonly buffer Gain { float gain[]; };
layout(binding = 2) readonly buffer Table { float table[]; };
layout(binding = 3) writeonly buffer Output { float y[]; };

layout(push_constant) uniform Arguments {
  uint rows, layers, width;
  float epsilon, projection_scale, table_scale, output_scale;
};

void main() {
  uint first = (gl_WorkGroupID.x * layers + gl_WorkGroupID.y) * width;
  float squares = 0;
  for (uint i = LANE; i < width; i += THREADS) {
    float v = x[first + i] * projection_scale;
    squares = fma(v, v, squares);
  }
  float factor = inversesqrt(row_sum(squares) / float(width) + epsilon);
  for (uint i = LANE; i < width; i += THREADS) {
    float v = x[first + i] * projection_scale * factor * (HAS_GAIN ? gain[i] : 1.0);
    y[first + i] = (v + table[first + i] * table_scale) * output_scale;
  }
}
