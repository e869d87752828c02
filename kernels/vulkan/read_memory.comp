// Reads memory once, for the measurement of its bandwidth.
#version 460

layout(constant_id = 0) const uint THREADS = 64;
layout(local_size_x_id = 0) in;

layout(binding = 0) readonly buffer Memory { uvec4 memory[]; };
layout(binding = 1) writeonly buffer Sink { uint sink[]; };

layout(push_constant) uniform Arguments { uint rows, vectors; };

void main() {
  uint lanes = gl_NumWorkGroups.x * THREADS;
  uvec4 sum = uvec4(0);
  for (uint i = gl_GlobalInvocationID.x; i < vectors; i += lanes) sum ^= memory[i];
  // Never true, but the compiler does not know, so it must read.
  if ((sum.x ^ sum.y ^ sum.z ^ sum.w) == 0x9e3779b9u) sink[0] = 1;
}
