// Multiplications and additions of f32 from registers, in eight independent chains, for the measurement of
// their rate.
#version 460
#extension GL_EXT_control_flow_attributes : require

layout(constant_id = 0) const uint THREADS = 64;
layout(local_size_x_id = 0) in;

layout(binding = 0) buffer Sink { float sink[]; };

layout(push_constant) uniform Arguments { uint rows, rounds; };

void main() {
  float sums[8];
  [[unroll]] for (int i = 0; i < 8; i++) sums[i] = float(gl_GlobalInvocationID.x) + float(i);
  for (uint round = 0; round < rounds; round++) {
    [[unroll]] for (int i = 0; i < 8; i++) sums[i] = fma(sums[i], 0.99, 0.5);
  }
  float sum = 0;
  [[unroll]] for (int i = 0; i < 8; i++) sum += sums[i];
  if (sum < -1.0) sink[0] = sum;
}
