// delta = activated - predictions[active]; k = coefficients * r(activated) + 1;
// streams[i] = predictions[i] + k[i] * delta; scaled = streams[active] * output_scale.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "row.glsl"
#include "functions.glsl"
#include "altup.glsl"

layout(constant_id = 3) const bool HAS_OUTPUT_SCALE = true;

layout(binding = 0) readonly buffer Predictions { float predictions[]; };
layout(binding = 1) readonly buffer Activated { float activated[]; };
layout(binding = 2) readonly buffer Router { float router[]; };              // [STREAMS, width]
layout(binding = 3) readonly buffer Gain { float gain[]; };
layout(binding = 4) readonly buffer Coefficients { float coefficients[]; };  // [STREAMS, STREAMS]
layout(binding = 5) readonly buffer OutputScale { float output_scale[]; };   // [width]
layout(binding = 6) writeonly buffer Streams { float streams[]; };
layout(binding = 7) writeonly buffer Scaled { float scaled[]; };

void main() {
  uint first = gl_WorkGroupID.x * width;
  float squares = 0;
  float routed[STREAMS];
  [[unroll]] for (uint s = 0; s < STREAMS; s++) routed[s] = 0;
  for (uint i = LANE; i < width; i += THREADS) {
    float v = activated[first + i];
    squares = fma(v, v, squares);
    if (HAS_GAIN) v *= gain[i];
    [[unroll]] for (uint s = 0; s < STREAMS; s++) routed[s] = fma(v, router[s * width + i], routed[s]);
  }
  float factor = inversesqrt(row_sum(squares) / float(width) + epsilon) / float(width);
  [[unroll]] for (uint s = 0; s < STREAMS; s++) {
    routed[s] = hyperbolic_tangent(row_sum(routed[s]) * factor);
  }
  float factors[STREAMS];
  [[unroll]] for (uint s = 0; s < STREAMS; s++) {
    factors[s] = 0;
    [[unroll]] for (uint j = 0; j < STREAMS; j++) {
      factors[s] = fma(coefficients[s * STREAMS + j], routed[j], factors[s]);
    }
    factors[s] += 1;
  }
  for (uint i = LANE; i < width; i += THREADS) {
    float delta = activated[first + i] - predictions[PLANE(active_stream) + i];
    [[unroll]] for (uint s = 0; s < STREAMS; s++) {
      float v = fma(delta, factors[s], predictions[PLANE(s) + i]);
      streams[PLANE(s) + i] = v;
      if (s == active_stream) scaled[first + i] = HAS_OUTPUT_SCALE ? v * output_scale[i] : v;
    }
  }
}
