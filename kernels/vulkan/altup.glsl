// AltUp: the streams of a row and its router, r(x) = tanh(weight * rms(x) / width).
// Source: Gemma3nTextAltUp, transformers 5.24, models/gemma3n/modeling_gemma3n.py.

layout(constant_id = 1) const bool HAS_GAIN = true;
layout(constant_id = 2) const uint STREAMS = 4;

layout(push_constant) uniform Arguments {
  uint rows, width;
  float epsilon;
  uint plane_stride, active_stream;
};

#define PLANE(stream) ((stream) * plane_stride + gl_WorkGroupID.x * width)
