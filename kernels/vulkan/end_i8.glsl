// The product of a chunk, for the type that the including file has defined.

#ifdef SIGNED_WEIGHTS
#define DOT(a, b) dot_signed(int(a), int(b), 0)
#else
#define DOT(a, b) dot_signed_unsigned(int(a), b, 0)
#endif

void chunk_sums(uint at, uint chunk) {
  uint all_blocks = columns / 32;
  uint blocks = min(8u, all_blocks - 8 * chunk);
  begin(at, blocks);
  for (uint b = 0; b < blocks; b++) {
    unpack(at, b);
    [[unroll]] for (uint t = 0; t < TOKENS; t++) {
      uint block = token(t) * all_blocks + 8 * chunk + b;
      uvec4 first = quants[2 * block];
      uvec4 second = quants[2 * block + 1];
      uvec2 scale = scales[block];
      int low = DOT(first.x, w[0]) + DOT(first.y, w[1]) + DOT(first.z, w[2]) + DOT(first.w, w[3]);
      int high = DOT(second.x, w[4]) + DOT(second.y, w[5]) + DOT(second.z, w[6]) + DOT(second.w, w[7]);
      ivec2 sums = ivec2(bitfieldExtract(int(scale.y), 0, 16), int(scale.y) >> 16);
      precise float sum = fma(uintBitsToFloat(scale.x), value(low, high, sums), chunk_sum[t]);
      chunk_sum[t] = sum;
    }
  }
}
