// Kernels that measure the limits of the machine, with which the other kernels are compared.

// Reads the thread's share of memory, four vectors at a time.
static void read_memory(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_read_args *args = arguments;
  range lines = share(args->bytes / 256, thread, threads);
  u32x16 sums[4] = {0};
  for (int64_t line = lines.first; line < lines.end; line++) {
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
      u32x16 v;
      memcpy(&v, args->memory + line * 256 + 64 * i, sizeof v);
      sums[i] ^= v;
      // This keeps the order of reads. Otherwise the compiler interleaves the lines, which is a
      // third slower.
      __asm__ volatile("" ::: "memory");
    }
  }
  args->sinks[16 * thread] = __builtin_reduce_xor((sums[0] ^ sums[1]) ^ (sums[2] ^ sums[3]));
}

enum { CHAINS = 12 };

// Products of four bytes at the full rate of the registers, in twelve independent chains.
static void multiply_integers(const void *arguments, const cpu_step *step, int thread,
                              int threads) {
  const cpu_peak_args *args = arguments;
  const int8_t x[4 * 4] = {1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8};
  tile_u32 weights = (tile_u32){0} + 0x01020304u;
  tile_i32 totals[CHAINS] = {0};
  for (int64_t round = 0; round < args->rounds; round++) {
    // This keeps the compiler from computing the following only once for all rounds.
    __asm__ volatile("" ::: "memory");
#pragma clang loop unroll(full)
    for (int chain = 0; chain < CHAINS; chain++) {
      tile_i32 sum = DOT_BEGIN(totals[chain]);
#pragma clang loop unroll(full)
      for (int j = 0; j < 4; j++) sum = dot_step(sum, weights, x + 4 * j, 4);
      totals[chain] = dot_end(totals[chain], sum, 4);
    }
  }
  uint32_t sink = 0;
  for (int chain = 0; chain < CHAINS; chain++) {
    sink ^= __builtin_reduce_xor((tile_u32)totals[chain]);
  }
  args->sinks[16 * thread] = sink;
}

// Products and sums of f32, each rounded separately.
static void multiply_floats(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_peak_args *args = arguments;
  f32x16 sums[CHAINS];
  for (int chain = 0; chain < CHAINS; chain++) sums[chain] = splat((float)chain);
  f32x16 factor = splat(0.999f);
  for (int64_t round = 0; round < args->rounds; round++) {
    __asm__ volatile("" ::: "memory");
#pragma clang loop unroll(full)
    for (int j = 0; j < 4; j++) {
#pragma clang loop unroll(full)
      for (int chain = 0; chain < CHAINS; chain++) sums[chain] = sums[chain] * factor + factor;
    }
  }
  float sink = 0;
  for (int chain = 0; chain < CHAINS; chain++) sink += sum_lanes(sums[chain]);
  memcpy(&args->sinks[16 * thread], &sink, sizeof sink);
}
