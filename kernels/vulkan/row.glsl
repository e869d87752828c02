// Kernels with one workgroup for a row: sums and maxima over all of its lanes.

#extension GL_KHR_shader_subgroup_arithmetic : require

// Lanes of a workgroup, at most 256.
layout(constant_id = 0) const uint THREADS = 64;
layout(local_size_x_id = 0) in;

#define LANE gl_LocalInvocationID.x

// One value of each subgroup; a subgroup has at least four lanes.
shared float of_subgroups[64];

// The order of the sum depends only on the device and THREADS, so rows give the same bits in any batch.
float row_sum(float x) {
  precise float sum = subgroupAdd(x);
  if (gl_NumSubgroups == 1) return sum;
  barrier();  // The values of the last call may still be read.
  if (subgroupElect()) of_subgroups[gl_SubgroupID] = sum;
  barrier();
  sum = of_subgroups[0];
  for (uint i = 1; i < gl_NumSubgroups; i++) sum += of_subgroups[i];
  return sum;
}

float row_max(float x) {
  float most = subgroupMax(x);
  if (gl_NumSubgroups == 1) return most;
  barrier();
  if (subgroupElect()) of_subgroups[gl_SubgroupID] = most;
  barrier();
  most = of_subgroups[0];
  for (uint i = 1; i < gl_NumSubgroups; i++) most = max(most, of_subgroups[i]);
  return most;
}
