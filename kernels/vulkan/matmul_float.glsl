// Products of float weights and f32 activations. The including file has defined GROUP, the columns in a
// vector, and unpack(vector), which puts them into w.

void chunk_sums(uint at, uint chunk) {
  uint first = 256 * chunk;
  uint groups = (min(256u, columns - first) + GROUP - 1) / GROUP;
  for (uint g = 0; g < groups; g++) {
    unpack(VECTOR(g));
    uint column = first + g * GROUP;
    [[unroll]] for (uint t = 0; t < TOKENS; t++) {
      uint from = token(t) * columns + column;
      [[unroll]] for (uint i = 0; i < GROUP; i++) {
        // The weights of a column beyond the last are zero, but there are no activations.
        if (!IS_ALIGNED && column + i >= columns) break;
        precise float sum = fma(w[i], x[from + i], chunk_sum[t]);
        chunk_sum[t] = sum;
      }
    }
  }
}
