// What a file matmul_<type>_i8.comp begins with. Before, it may define SIGNED_WEIGHTS, and SCALES_OF_HALVES
// for two scales in a block. It then defines, for its type,
//   OFFSET                     what is subtracted from each stored weight
//   Chunk, Block               what is read once for a chunk, and for a block, whose w[k] has the weights 4k
//                              to 4k + 3 without the offset
//   begin(at, blocks)          reads what the blocks of the chunk at `at` have in common
//   unpack(at, chunk, b)       reads block b
//   value(chunk, block, low, high, sums)
//                              the block's product without the scale of the activations: `high` is the
//                              product of all 32 weights with the activations; with SCALES_OF_HALVES `low` is
//                              that of the first sixteen and `high` that of the others; `sums` are the sums of
//                              the activations' halves
// and ends with end_i8.glsl.
#extension GL_EXT_control_flow_attributes : require
#include "functions.glsl"
#include "dot.glsl"
#include "weights.glsl"

layout(binding = 1) readonly buffer Quants { uvec4 quants[]; };  // [tokens, blocks, 2]
layout(binding = 2) readonly buffer Scales { uvec2 scales[]; };  // [tokens, blocks]
#define OUTPUT_BINDING 3
#include "matmul.glsl"

// Nibbles: byte i of the vector has weight i low and weight i + 16 high.
uint[8] nibbles(uvec4 n) {
  uvec4 low = n & 0x0f0f0f0fu;
  uvec4 high = (n >> 4) & 0x0f0f0f0fu;
  return uint[8](low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w);
}

// Pairs of bits: bits 2k of byte i have weight 4k + i, of the second word weight 4k + 16 + i.
uint[8] with_pairs(uint[8] w, uvec2 words, uint shift) {
  [[unroll]] for (uint k = 0; k < 8; k++) {
    w[k] |= ((words[k / 4] >> (2 * (k % 4))) & 0x03030303u) << shift;
  }
  return w;
}

// The planes of single bits that so many blocks have.
#define BIT_PLANES(blocks) (((blocks) + 3) / 4)

// Single bits: bit k of byte i has weight 4k + i.
uint[8] with_bits(uint[8] w, uint word, uint shift) {
  [[unroll]] for (uint k = 0; k < 8; k++) w[k] |= ((word >> k) & 0x01010101u) << shift;
  return w;
}

// The two int8 in the lower half of a word.
ivec2 two_int8(uint word) {
  return ivec2(bitfieldExtract(int(word), 0, 8), bitfieldExtract(int(word), 8, 8));
}
