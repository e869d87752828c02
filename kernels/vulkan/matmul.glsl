// The product of packed weights and activations: a lane computes one row of the weights for TOKENS rows of
// activations. This is the only order of sums for any shape: the products within a chunk in sequence, then
// the chunks in sequence. So one token gives the same bits as one among many.
//
// The including file defines OUTPUT_BINDING and chunk_sums, which fills chunk_sum.

layout(constant_id = 0) const uint THREADS = 64;
layout(constant_id = 1) const uint K_LANES = 1;  // lanes that share the chunks of a row, in turn
layout(constant_id = 2) const uint TOKENS = 1;
layout(local_size_x_id = 0) in;

layout(binding = OUTPUT_BINDING) writeonly buffer Output { float y[]; };

uint row_in_tile;
float chunk_sum[TOKENS];

uint token(uint t) { return min(gl_WorkGroupID.x * TOKENS + t, tokens - 1); }

void chunk_sums(uint at, uint chunk);

shared float shared_sums[K_LANES > 1 ? THREADS * TOKENS : 1];

void main() {
  uint lane = gl_LocalInvocationID.x;
  row_in_tile = lane % TILE;
  uint turn = lane / TILE % K_LANES;
  uint tile = gl_WorkGroupID.y * (THREADS / TILE / K_LANES) + lane / TILE / K_LANES;
  uint row = tile * TILE + row_in_tile;
  uint at = min(tile, (rows - 1) / TILE) * tile_vectors + row_in_tile;
  uint chunks = (columns + 255) / 256;
  precise float total[TOKENS];
  [[unroll]] for (uint t = 0; t < TOKENS; t++) total[t] = 0;
  for (uint first_chunk = 0; first_chunk < chunks; first_chunk += K_LANES) {
    uint chunk = first_chunk + turn;
    [[unroll]] for (uint t = 0; t < TOKENS; t++) chunk_sum[t] = 0;
    if (chunk < chunks) chunk_sums(at + chunk * chunk_vectors, chunk);
    if (K_LANES == 1) {
      [[unroll]] for (uint t = 0; t < TOKENS; t++) total[t] += chunk_sum[t];
    } else {
      [[unroll]] for (uint t = 0; t < TOKENS; t++) shared_sums[THREADS * t + lane] = chunk_sum[t];
      barrier();
      for (uint k = 0; k < K_LANES; k++) {
        // Only the lanes of the first turn need the total.
        uint from = turn == 0 ? lane + TILE * k : lane;
        [[unroll]] for (uint t = 0; t < TOKENS; t++) total[t] += shared_sums[THREADS * t + from];
      }
      barrier();
    }
  }
  if (turn != 0 || row >= rows) return;
  [[unroll]] for (uint t = 0; t < TOKENS; t++) {
    uint own = gl_WorkGroupID.x * TOKENS + t;
    if (own >= tokens) break;
    float v = total[t];
    if (softcap != 0) v = softcap * hyperbolic_tangent(v / softcap);
    y[own * stride + first + row] = v;
  }
}
