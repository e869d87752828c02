// output = the input's wanted rows, all planes.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step_rows.glsl"

layout(constant_id = 0) const uint THREADS = 64;
layout(local_size_x_id = 0) in;

layout(binding = 1) readonly buffer Input { float x[]; };
layout(binding = 2) writeonly buffer Output { float y[]; };

layout(push_constant) uniform Arguments { uint rows, width, row_base, plane_stride; };

void main() {
  uint column = gl_GlobalInvocationID.x;
  uint row = gl_WorkGroupID.y;
  if (column >= width) return;
  uint plane = gl_WorkGroupID.z * plane_stride;
  uint source = uint(step_rows[row_base + row].z);
  y[plane + row * width + column] = x[plane + source * width + column];
}
