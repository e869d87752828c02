// The sixteen steps of iq4_nl and iq4_xs (kvalues_iq4nl of ggml-common.h), four int8 in a word:
// -127 -104 -83 -65 | -49 -35 -22 -10 | 1 13 25 38 | 53 69 89 113.
const uint STEPS[4] = {0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u};

uint step_of(uint nibble) { return (STEPS[nibble >> 2] >> (8 * (nibble & 3u))) & 0xffu; }

uint steps_of(uint two_nibbles) { return step_of(two_nibbles & 15u) | step_of(two_nibbles >> 4) << 8; }

// Steps without a table are most of a product's instructions. An emulation has none, because a barrier costs
// it more than the table saves.
const bool HAS_TABLE = !IS_EMULATION;

shared uint table[256];

void make_table() {
  if (!HAS_TABLE) return;
  for (uint i = gl_LocalInvocationID.x; i < 256; i += THREADS) table[i] = steps_of(i);
  barrier();
}

uint looked_up(uint two_nibbles) { return HAS_TABLE ? table[two_nibbles] : steps_of(two_nibbles); }

// The steps that nibbles stand for, which put_steps of pack.c arranges.
uint[8] steps(uvec4 n) {
  uint w[8];
  [[unroll]] for (uint k = 0; k < 8; k++) {
    uint four = n[k / 2] >> (16 * (k % 2));
    w[k] = looked_up(four & 0xffu) | looked_up((four >> 8) & 0xffu) << 16;
  }
  return w;
}
