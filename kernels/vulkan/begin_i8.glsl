// What a file matmul_<type>_i8.comp begins with. Before, it may define SIGNED_WEIGHTS, SCALES_OF_HALVES
// for two scales in a block, and TABLE if it has a make_table() to call first. It then defines, for its type,
//   OFFSET                     what is subtracted from each stored weight
//   Chunk, Block               what is read once for a chunk, and for a block, whose w[k] has the weights 4k
//                              to 4k + 3 without the offset
//   begin(at, blocks)          reads what the blocks of the chunk at `at` have in common
//   unpack(at, chunk, b)       reads block b
//   value(chunk, block, low, high, sums)
//                              the block's product without the scale of the activations: `high` is the
//                              product of all 32 weights with the activations; with SCALES_OF_HALVES `low` is
//                              that of the first sixteen and `high` that of the others; `sums` are the sums of
//                              the activations' halves, for sum_of and halves_of
// and ends with end_i8.glsl.
//
// Integer scales are multiplied as floats: GPUs are four times as fast at that, and it changes no bit, because
// all such products and their sums are integers below 2^24, which floats hold exactly. The largest is that of
// q6_K, 128 * (32 * 32 * 127).
#extension GL_EXT_control_flow_attributes : require
#include "functions.glsl"
#include "dot.glsl"
#include "weights.glsl"

layout(binding = 1) readonly buffer Quants { uvec4 quants[]; };  // [tokens, blocks, 2]
layout(binding = 2) readonly buffer Scales { uvec2 scales[]; };  // [tokens, blocks]
#define OUTPUT_BINDING 3
#include "matmul.glsl"

// Only emulations have workgroups as small as this.
const bool IS_EMULATION = THREADS < 64;

// Whether the blocks of a whole chunk are unrolled. Then what a block has in a chunk is at constant places, and
// adjacent reads become one. Not for many rows of activations, as it would be more code than the instruction
// cache holds, nor for emulations, which would take long to compile it.
const bool IS_UNROLLED = !IS_EMULATION && TOKENS <= 4;

// The sum of a block's activations, and those of its halves, of which a word has two int16.
int sum_of(uint sums) { return int((sums << 16) + sums) >> 16; }
ivec2 halves_of(uint sums) { return ivec2(bitfieldExtract(int(sums), 0, 16), int(sums) >> 16); }

// Weights of two to six bits, as put_twos to put_sixes of pack.c arrange them.
uint[8] twos(uvec2 n) {
  uint w[8];
  [[unroll]] for (uint k = 0; k < 8; k++) w[k] = (n[k / 4] >> (2 * (k % 4))) & 0x03030303u;
  return w;
}

uint[8] threes(uvec2 n, uint c) {
  return uint[8](
      n.x & 0x07070707u, (n.x >> 3) & 0x07070707u, n.y & 0x07070707u, (n.y >> 3) & 0x07070707u,
      c & 0x07070707u, (c >> 3) & 0x07070707u,
      ((n.x >> 5) & 0x06060606u) | ((c >> 6) & 0x01010101u),
      ((n.y >> 5) & 0x06060606u) | ((c >> 7) & 0x01010101u));
}

uint[8] nibbles(uvec4 n) {
  uvec4 low = n & 0x0f0f0f0fu;
  uvec4 high = (n >> 4) & 0x0f0f0f0fu;
  return uint[8](low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w);
}

uint[8] fives(uvec4 n, uint e) {
  return uint[8](
      n.x & 0x1f1f1f1fu, n.y & 0x1f1f1f1fu, n.z & 0x1f1f1f1fu, n.w & 0x1f1f1f1fu, e & 0x1f1f1f1fu,
      ((n.x >> 3) & 0x1c1c1c1cu) | ((n.y >> 6) & 0x03030303u),
      ((n.z >> 3) & 0x1c1c1c1cu) | ((n.w >> 6) & 0x03030303u),
      ((e >> 3) & 0x1c1c1c1cu) | ((n.y >> 4) & 0x02020202u) | ((n.w >> 5) & 0x01010101u));
}

uint last_six(uint a, uint b, uint c) {
  return ((a >> 2) & 0x30303030u) | ((b >> 4) & 0x0c0c0c0cu) | ((c >> 6) & 0x03030303u);
}

uint[8] sixes(uvec4 n, uvec2 more) {
  return uint[8](
      n.x & 0x3f3f3f3fu, n.y & 0x3f3f3f3fu, n.z & 0x3f3f3f3fu, last_six(n.x, n.y, n.z),
      n.w & 0x3f3f3f3fu, more.x & 0x3f3f3f3fu, more.y & 0x3f3f3f3fu,
      last_six(n.w, more.x, more.y));
}

// The planes of single words that so many blocks have.
#define WORD_PLANES(blocks) (((blocks) + 3) / 4)

// The two bytes in the lower half of a word.
vec2 two_uint8(uint word) { return vec2(word & 0xffu, bitfieldExtract(word, 8, 8)); }
vec2 two_int8(uint word) {
  return vec2(bitfieldExtract(int(word), 0, 8), bitfieldExtract(int(word), 8, 8));
}
