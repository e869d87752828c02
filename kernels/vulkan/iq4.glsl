// The sixteen steps of iq4_nl and iq4_xs (kvalues_iq4nl of ggml-common.h), four int8 in a word:
// -127 -104 -83 -65 | -49 -35 -22 -10 | 1 13 25 38 | 53 69 89 113.
const uint STEPS[4] = {0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u};

uint step_of(uint nibble) { return (STEPS[nibble >> 2] >> (8 * (nibble & 3u))) & 0xffu; }

// The steps that nibbles stand for.
uint[8] steps_of(uint[8] w) {
  [[unroll]] for (uint k = 0; k < 8; k++) {
    uint n = w[k];
    w[k] = step_of(n & 15u) | step_of((n >> 8) & 15u) << 8 | step_of((n >> 16) & 15u) << 16 |
           step_of((n >> 24) & 15u) << 24;
  }
  return w;
}
