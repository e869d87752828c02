// Products of float weights and f32 activations. The including file has defined GROUP, the columns in a
// vector, and unpack(vector), which returns them.

void chunk_sums(uint[LANE_TILES] tile_at, uint chunk) {
  uint first = 256 * chunk;
  uint groups = (min(256u, columns - first) + GROUP - 1) / GROUP;
  for (uint g = 0; g < groups; g++) {
    uint column = first + g * GROUP;
    [[unroll]] for (uint r = 0; r < LANE_TILES; r++) {
      uint at = tile_at[r];
      float[GROUP] w = unpack(VECTOR(g));
      [[unroll]] for (uint t = 0; t < TOKENS; t++) {
        uint from = token(t) * columns + column;
        [[unroll]] for (uint i = 0; i < GROUP; i++) {
          // The weights of a column beyond the last are zero, but there are no activations.
          if (!IS_ALIGNED && column + i >= columns) break;
          precise float sum = fma(w[i], x[from + i], chunk_sum[LANE_TILES * t + r]);
          chunk_sum[LANE_TILES * t + r] = sum;
        }
      }
    }
  }
}
