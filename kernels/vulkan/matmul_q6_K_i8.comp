// q6_K: w = (q - 32) * d * s, s for 16 weights. Planes: sixes, A to D of each block (0 to 7), E and F of two
// blocks a plane (8 to 11); s as int8 (12); d, half a word for a row (13).
#version 460
#extension GL_GOOGLE_include_directive : require
#define SCALES_OF_HALVES
#include "begin_i8.glsl"

const int OFFSET = 32;

struct Chunk {
  float d;
};

struct Block {
  uint w[8];
  vec2 s;
};

Chunk begin(uint at, uint blocks) { return Chunk(REST_HALF(13)); }

Block unpack(uint at, Chunk chunk, uint b) {
  Block block;
  uvec2 words = uvec2(VECTOR_WORD(8 + b / 2, b % 2 * 2), VECTOR_WORD(8 + b / 2, b % 2 * 2 + 1));
  block.w = sixes(VECTOR(b), words);
  block.s = two_int8(VECTOR_WORD(12, b / 2) >> (16 * (b % 2)));
  return block;
}

float value(Chunk chunk, Block block, int low, int high, uint sums) {
  return chunk.d * fma(block.s.y, float(high), block.s.x * float(low));
}

#include "end_i8.glsl"
