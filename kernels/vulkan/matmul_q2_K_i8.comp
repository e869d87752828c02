// q2_K: w = q * d * s - dmin * m, s and m for 16 weights. Planes: pairs, two blocks a plane (0 to 3); s low
// and m high in a byte (4); d and dmin, a word for a row (5).
#version 460
#extension GL_GOOGLE_include_directive : require
#define SCALES_OF_HALVES
#include "begin_i8.glsl"

const int OFFSET = 0;

struct Chunk {
  float d, dmin;
};

struct Block {
  uint w[8];
  ivec2 s, m;
};

Chunk begin(uint at, uint blocks) {
  vec2 both = unpackHalf2x16(REST_WORD(5, 1, 0));
  return Chunk(both.x, both.y);
}

Block unpack(uint at, Chunk chunk, uint b) {
  Block block;
  uvec2 words = uvec2(VECTOR_WORD(b / 2, b % 2 * 2), VECTOR_WORD(b / 2, b % 2 * 2 + 1));
  block.w = with_pairs(uint[8](0, 0, 0, 0, 0, 0, 0, 0), words, 0);
  uint both = VECTOR_WORD(4, b / 2) >> (16 * (b % 2));
  block.s = ivec2(uvec2(both, both >> 8) & 15u);
  block.m = ivec2(uvec2(both >> 4, both >> 12) & 15u);
  return block;
}

float value(Chunk chunk, Block block, int low, int high, ivec2 sums) {
  int product = block.s.x * low + block.s.y * high;
  int minimum = block.m.x * sums.x + block.m.y * sums.y;
  return fma(chunk.d, float(product), -(chunk.dmin * float(minimum)));
}

#include "end_i8.glsl"
