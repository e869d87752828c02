// q3_K: w = (q - 4) * d * s, s for 16 weights. Planes: threes, A and B of two blocks a plane (0 to 3),
// C of four blocks a plane (4, 5); s as int8 (6); d, half a word for a row (7).
#version 460
#extension GL_GOOGLE_include_directive : require
#define SCALES_OF_HALVES
#include "begin_i8.glsl"

const int OFFSET = 4;

struct Chunk {
  float d;
};

struct Block {
  uint w[8];
  vec2 s;
};

Chunk begin(uint at, uint blocks) { return Chunk(REST_HALF(7)); }

Block unpack(uint at, Chunk chunk, uint b) {
  Block block;
  uvec2 words = uvec2(VECTOR_WORD(b / 2, b % 2 * 2), VECTOR_WORD(b / 2, b % 2 * 2 + 1));
  block.w = threes(words, VECTOR_WORD(4 + b / 4, b % 4));
  block.s = two_int8(VECTOR_WORD(6, b / 2) >> (16 * (b % 2)));
  return block;
}

float value(Chunk chunk, Block block, int low, int high, uint sums) {
  return chunk.d * fma(block.s.y, float(high), block.s.x * float(low));
}

#include "end_i8.glsl"
