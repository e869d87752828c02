// The product of a chunk, for the type that the including file has defined.

#ifdef SCALES_OF_HALVES
const bool HAS_HALVES = true;
#else
const bool HAS_HALVES = false;
#endif

#ifdef SIGNED_WEIGHTS
#define DOT(a, b) dot_signed(int(a), int(b), 0)
#else
#define DOT(a, b) dot_signed_unsigned(int(a), b, 0)
#endif

// 32 activations.
struct Activations {
  uvec4 first, second;
  uvec2 scale;
};

float product(Chunk chunk, Block block, Activations x) {
  // One chain of accumulating products, which begins with what the offset of the weights takes off.
  int low = -OFFSET * (HAS_HALVES ? halves_of(x.scale.y).x : sum_of(x.scale.y));
  low += DOT(x.first.x, block.w[0]);
  low += DOT(x.first.y, block.w[1]);
  low += DOT(x.first.z, block.w[2]);
  low += DOT(x.first.w, block.w[3]);
  int high = HAS_HALVES ? -OFFSET * halves_of(x.scale.y).y : low;
  high += DOT(x.second.x, block.w[4]);
  high += DOT(x.second.y, block.w[5]);
  high += DOT(x.second.z, block.w[6]);
  high += DOT(x.second.w, block.w[7]);
  return value(chunk, block, low, high, x.scale.y);
}

// Adds the product of block b of the chunk.
void block_sums(uint[LANE_TILES] at, Chunk[LANE_TILES] chunks, uint chunk, uint b) {
  uint all_blocks = columns / 32;
  Block unpacked[LANE_TILES];
  [[unroll]] for (uint r = 0; r < LANE_TILES; r++) unpacked[r] = unpack(at[r], chunks[r], b);
  [[unroll]] for (uint t = 0; t < TOKENS; t++) {
    uint place = token(t) * all_blocks + 8 * chunk + b;
    Activations x = Activations(quants[2 * place], quants[2 * place + 1], scales[place]);
    [[unroll]] for (uint r = 0; r < LANE_TILES; r++) {
      uint i = LANE_TILES * t + r;
      precise float sum = fma(
          uintBitsToFloat(x.scale.x), product(chunks[r], unpacked[r], x), chunk_sum[i]);
      chunk_sum[i] = sum;
    }
  }
}

void chunk_sums(uint[LANE_TILES] at, uint chunk) {
  uint blocks = min(8u, columns / 32 - 8 * chunk);
  Chunk chunks[LANE_TILES];
  if (IS_UNROLLED && blocks == 8) {
    [[unroll]] for (uint r = 0; r < LANE_TILES; r++) chunks[r] = begin(at[r], 8);
    [[unroll]] for (uint b = 0; b < 8; b++) block_sums(at, chunks, chunk, b);
  } else {
    [[unroll]] for (uint r = 0; r < LANE_TILES; r++) chunks[r] = begin(at[r], blocks);
    for (uint b = 0; b < blocks; b++) block_sums(at, chunks, chunk, b);
  }
}
