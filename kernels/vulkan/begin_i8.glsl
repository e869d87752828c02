// What a file matmul_<type>_i8.comp begins with. It then defines, for its type,
//   begin(at, blocks)       reads what the blocks of the chunk at `at` have in common
//   unpack(at, b)           reads block b: its 32 weights into w
//   value(low, high, sums)  the block's product without the scale of the activations; `low` and `high` are
//                           the products of w with the two halves of the activations, `sums` the sums of
//                           these halves
// and ends with end_i8.glsl.
#extension GL_EXT_control_flow_attributes : require
#include "functions.glsl"
#include "dot.glsl"
#include "weights.glsl"

layout(binding = 1) readonly buffer Quants { uvec4 quants[]; };  // [tokens, blocks, 2]
layout(binding = 2) readonly buffer Scales { uvec2 scales[]; };  // [tokens, blocks]
#define OUTPUT_BINDING 3
#include "matmul.glsl"

uint w[8];  // weights 4k to 4k + 3 in w[k]: unsigned, or signed with SIGNED_WEIGHTS

// Nibbles: byte i of the vector has weight i low and weight i + 16 high.
void unpack_nibbles(uvec4 n) {
  uvec4 low = n & 0x0f0f0f0fu;
  uvec4 high = (n >> 4) & 0x0f0f0f0fu;
  w[0] = low.x, w[1] = low.y, w[2] = low.z, w[3] = low.w;
  w[4] = high.x, w[5] = high.y, w[6] = high.z, w[7] = high.w;
}

// Pairs of bits: bits 2k of byte i have weight 4k + i, of the second word weight 4k + 16 + i.
#define PAIRS(words, k) (((words)[(k) / 4] >> (2 * ((k) % 4))) & 0x03030303u)

// Single bits: bit k of byte i has weight 4k + i.
#define BITS(word, k) (((word) >> (k)) & 0x01010101u)
