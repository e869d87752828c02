// The product of packed weights and activations: a lane computes one row of each of LANE_TILES tiles of weights
// for TOKENS rows of activations. This is the only order of sums for any shape: the products within a chunk
// in sequence, then the chunks in sequence. So one token gives the same bits as one among many.
//
// Behind a sparse gate most products are multiplied by zero: a lane whose gates are all zero reads no weights.
//
// The including file defines OUTPUT_BINDING and chunk_sums, which adds the products of a chunk to chunk_sum.

layout(constant_id = 0) const uint THREADS = 64;
layout(constant_id = 1) const uint K_LANES = 1;     // lanes that share the chunks of a row, in turn
layout(constant_id = 2) const uint LANE_TILES = 1;
layout(constant_id = 3) const uint TOKENS = 1;
layout(constant_id = 4) const bool IS_GATED = false;  // whether products are multiplied by a gate
layout(local_size_x_id = 0) in;

layout(binding = OUTPUT_BINDING) writeonly buffer Output { float y[]; };
layout(binding = OUTPUT_BINDING + 1) readonly buffer Gate { float gate[]; };  // as the output

uint row_in_tile;
float chunk_sum[LANE_TILES * TOKENS];

uint token(uint t) { return min(gl_WorkGroupID.x * TOKENS + t, tokens - 1); }

// `at` is where the chunk's vectors of this lane begin in each of its tiles.
void chunk_sums(uint[LANE_TILES] at, uint chunk);

uint output_place(uint t, uint row) {
  return (gl_WorkGroupID.x * TOKENS + t) * stride + first + row;
}

bool is_needed(uint first_tile) {
  if (!IS_GATED) return true;
  bool needed = false;
  [[unroll]] for (uint r = 0; r < LANE_TILES; r++) {
    uint row = (first_tile + r) * TILE + row_in_tile;
    [[unroll]] for (uint t = 0; t < TOKENS; t++) {
      if (row < rows && gl_WorkGroupID.x * TOKENS + t < tokens) {
        needed = needed || gate[output_place(t, row)] != 0;
      }
    }
  }
  return needed;
}

#ifdef TABLE
// Makes the table in shared memory that weights are looked up in.
void make_table();
#endif

shared float shared_sums[K_LANES > 1 ? THREADS * LANE_TILES * TOKENS : 1];

void main() {
  uint lane = gl_LocalInvocationID.x;
  row_in_tile = lane % TILE;
#ifdef TABLE
  make_table();
#endif
  uint turn = lane / TILE % K_LANES;
  uint first_tile =
      (gl_WorkGroupID.y * (THREADS / TILE / K_LANES) + lane / TILE / K_LANES) * LANE_TILES;
  uint chunks = (columns + 255) / 256;
  bool needed = is_needed(first_tile);
  precise float total[LANE_TILES * TOKENS];
  [[unroll]] for (uint i = 0; i < LANE_TILES * TOKENS; i++) total[i] = 0;
  for (uint first_chunk = 0; first_chunk < chunks; first_chunk += K_LANES) {
    uint chunk = first_chunk + turn;
    [[unroll]] for (uint i = 0; i < LANE_TILES * TOKENS; i++) chunk_sum[i] = 0;
    if (needed && chunk < chunks) {
      uint at[LANE_TILES];
      [[unroll]] for (uint r = 0; r < LANE_TILES; r++) {
        // A tile beyond the last reads the last, and what comes of it is not stored.
        uint tile = min(first_tile + r, (rows - 1) / TILE);
        at[r] = tile * tile_vectors + row_in_tile + chunk * chunk_vectors;
      }
      chunk_sums(at, chunk);
    }
    if (K_LANES == 1) {
      [[unroll]] for (uint i = 0; i < LANE_TILES * TOKENS; i++) total[i] += chunk_sum[i];
    } else {
      [[unroll]] for (uint i = 0; i < LANE_TILES * TOKENS; i++) {
        shared_sums[THREADS * i + lane] = chunk_sum[i];
      }
      barrier();
      // Only the lanes of the first turn need the total; whole subgroups of others pass over this. What is
      // added is read first, because an addition would else wait for a read that begins only then.
      if (turn == 0) {
        [[unroll]] for (uint i = 0; i < LANE_TILES * TOKENS; i++) {
          float sums[K_LANES];
          [[unroll]] for (uint k = 0; k < K_LANES; k++) {
            sums[k] = shared_sums[THREADS * i + lane + TILE * k];
          }
          [[unroll]] for (uint k = 0; k < K_LANES; k++) total[i] += sums[k];
        }
      }
      barrier();
    }
  }
  if (turn != 0) return;
  [[unroll]] for (uint t = 0; t < TOKENS; t++) {
    [[unroll]] for (uint r = 0; r < LANE_TILES; r++) {
      uint row = (first_tile + r) * TILE + row_in_tile;
      if (gl_WorkGroupID.x * TOKENS + t < tokens && row < rows) {
        uint place = output_place(t, row);
        float v = total[LANE_TILES * t + r];
        if (softcap != 0) v = softcap * hyperbolic_tangent(v / softcap);
        // What a gate of zero meets may have been computed, or not.
        if (IS_GATED) v = gate[place] == 0 ? 0.0 : gate[place] * v;
        y[place] = v;
      }
    }
  }
}
