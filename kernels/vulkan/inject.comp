// streams[i] = (streams[i] + rms(input)) * scale, from first_stream on.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "row.glsl"

layout(constant_id = 1) const bool HAS_GAIN = true;

layout(binding = 0) readonly buffer Input { float x[]; };
layout(binding = 1) readonly buffer Gain { float gain[]; };
layout(binding = 2) buffer Streams { float streams[]; };

layout(push_constant) uniform Arguments {
  uint rows, width;
  float epsilon, scale;
  uint plane_stride, first_stream, stream_count;
};

void main() {
  uint first = gl_WorkGroupID.x * width;
  float squares = 0;
  for (uint i = LANE; i < width; i += THREADS) squares = fma(x[first + i], x[first + i], squares);
  float factor = inversesqrt(row_sum(squares) / float(width) + epsilon);
  for (uint i = LANE; i < width; i += THREADS) {
    float v = x[first + i] * factor * (HAS_GAIN ? gain[i] : 1.0);
    for (uint s = first_stream; s < stream_count; s++) {
      uint at = s * plane_stride + first + i;
      streams[at] = (streams[at] + v) * scale;
    }
  }
}
