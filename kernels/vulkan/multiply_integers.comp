// Products of packed int8 from registers, in eight independent chains, for the measurement of their rate.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "dot.glsl"

layout(constant_id = 0) const uint THREADS = 64;
layout(local_size_x_id = 0) in;

layout(binding = 0) buffer Sink { int sink[]; };

layout(push_constant) uniform Arguments { uint rows, rounds; };

void main() {
  int sums[8];
  [[unroll]] for (int i = 0; i < 8; i++) sums[i] = int(gl_GlobalInvocationID.x) + i;
  for (uint round = 0; round < rounds; round++) {
    [[unroll]] for (int i = 0; i < 8; i++) {
      sums[i] += dot_signed_unsigned(sums[i], 0x01020304u, 0);
    }
  }
  int sum = 0;
  [[unroll]] for (int i = 0; i < 8; i++) sum ^= sums[i];
  if (sum == 0x1e3779b9) sink[0] = sum;
}
