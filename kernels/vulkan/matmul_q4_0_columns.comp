// q4_0 weights of which only the columns that meet an activation are read: `down` behind a sparse gate. The
// sums are those of matmul_q4_0_i8 without the terms that are zero, in the same order, so the results are the
// same bits. How weights are packed by columns is said in pack.c.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "functions.glsl"
#include "weights.glsl"

layout(binding = 1) readonly buffer Quants { uint quants[]; };   // [tokens, columns / 4]
layout(binding = 2) readonly buffer Scales { uvec2 scales[]; };  // [tokens, blocks]
#define OUTPUT_BINDING 3
#include "matmul.glsl"

// A lane has a row of each of eight tiles, whose nibbles are in one word.
const uint GROUPS = 8;

// Vectors of a block of 32 columns: a scale for each of 128 rows, then four vectors for each column.
const uint BLOCK_VECTORS = 16 + 4 * 32;

void chunk_sums(uint[LANE_TILES] tile_at, uint chunk) {
  uint all_blocks = columns / 32;
  uint blocks = min(8u, all_blocks - 8 * chunk);
  for (uint b = 0; b < blocks; b++) {
    uint at = tile_at[0] + b * BLOCK_VECTORS;
    uint place[TOKENS];
    uvec2 scale[TOKENS];
    bool has_any = false;
    [[unroll]] for (uint t = 0; t < TOKENS; t++) {
      place[t] = token(t) * all_blocks + 8 * chunk + b;
      scale[t] = scales[place[t]];
      // The scale of an infinity or a NaN is not zero either.
      has_any = has_any || scale[t].x != 0;
    }
    if (!has_any) continue;
    int sums[GROUPS * TOKENS];
    [[unroll]] for (uint t = 0; t < TOKENS; t++) {
      int offset = -8 * (bitfieldExtract(int(scale[t].y), 0, 16) + (int(scale[t].y) >> 16));
      [[unroll]] for (uint g = 0; g < GROUPS; g++) sums[GROUPS * t + g] = offset;
    }
    for (uint word = 0; word < 8; word++) {
      uint four[TOKENS];
      uint all = 0;
      [[unroll]] for (uint t = 0; t < TOKENS; t++) {
        four[t] = quants[8 * place[t] + word];
        all |= four[t];
      }
      while (all != 0) {
        // The next byte that is not zero in all rows of activations.
        uint byte = findLSB(all) / 8;
        all &= ~(0xffu << (8 * byte));
        uint column = 4 * word + byte;
        uint nibbles = weight_words[4 * (at - row_in_tile + 16 + 4 * column) + row_in_tile];
        [[unroll]] for (uint t = 0; t < TOKENS; t++) {
          int x = bitfieldExtract(int(four[t]), int(8 * byte), 8);
          [[unroll]] for (uint g = 0; g < GROUPS; g++) {
            sums[GROUPS * t + g] += x * int((nibbles >> (4 * g)) & 15u);
          }
        }
      }
    }
    uvec4 d = weights[at];
    [[unroll]] for (uint g = 0; g < GROUPS; g++) {
      float row_scale = half_of(d[g / 2], g);
      [[unroll]] for (uint t = 0; t < TOKENS; t++) {
        uint i = LANE_TILES * t + g;
        float product = row_scale * float(sums[GROUPS * t + g]);
        precise float sum = fma(uintBitsToFloat(scale[t].x), product, chunk_sum[i]);
        chunk_sum[i] = sum;
      }
    }
  }
}
