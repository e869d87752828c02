// q = coefficients * r(streams[active]); output[i] = streams[i] + sum over j of q[STREAMS * i + j] * streams[j].
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "row.glsl"
#include "functions.glsl"
#include "altup.glsl"

layout(binding = 0) readonly buffer Streams { float streams[]; };
layout(binding = 1) readonly buffer Router { float router[]; };              // [STREAMS, width]
layout(binding = 2) readonly buffer Gain { float gain[]; };
layout(binding = 3) readonly buffer Coefficients { float coefficients[]; };  // [STREAMS * STREAMS, STREAMS]
layout(binding = 4) writeonly buffer Output { float y[]; };

void main() {
  uint from = PLANE(active_stream);
  float squares = 0;
  float routed[STREAMS];
  [[unroll]] for (uint s = 0; s < STREAMS; s++) routed[s] = 0;
  for (uint i = LANE; i < width; i += THREADS) {
    float v = streams[from + i];
    squares = fma(v, v, squares);
    if (HAS_GAIN) v *= gain[i];
    [[unroll]] for (uint s = 0; s < STREAMS; s++) routed[s] = fma(v, router[s * width + i], routed[s]);
  }
  float factor = inversesqrt(row_sum(squares) / float(width) + epsilon) / float(width);
  [[unroll]] for (uint s = 0; s < STREAMS; s++) {
    routed[s] = hyperbolic_tangent(row_sum(routed[s]) * factor);
  }
  float factors[STREAMS * STREAMS];
  [[unroll]] for (uint i = 0; i < STREAMS * STREAMS; i++) {
    factors[i] = 0;
    [[unroll]] for (uint j = 0; j < STREAMS; j++) {
      factors[i] = fma(coefficients[i * STREAMS + j], routed[j], factors[i]);
    }
  }
  for (uint i = LANE; i < width; i += THREADS) {
    float values[STREAMS];
    [[unroll]] for (uint s = 0; s < STREAMS; s++) values[s] = streams[PLANE(s) + i];
    [[unroll]] for (uint s = 0; s < STREAMS; s++) {
      float sum = values[s];
      [[unroll]] for (uint j = 0; j < STREAMS; j++) sum = fma(values[j], factors[s * STREAMS + j], sum);
      y[PLANE(s) + i] = sum;
    }
  }
}
