// q3_K: w = (q - 4) * d * s, s for 16 weights. Planes: pairs, two blocks a plane (0 to 3); high bits, four
// blocks a plane (4, 5); s as int8 (6); d, half a word for a row (7).
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
  ivec2 s;
};

Chunk begin(uint at, uint blocks) { return Chunk(REST_HALF(7)); }

Block unpack(uint at, Chunk chunk, uint b) {
  Block block;
  uvec2 words = uvec2(VECTOR_WORD(b / 2, b % 2 * 2), VECTOR_WORD(b / 2, b % 2 * 2 + 1));
  block.w = with_pairs(uint[8](0, 0, 0, 0, 0, 0, 0, 0), words, 0);
  block.w = with_bits(block.w, VECTOR_WORD(4 + b / 4, b % 4), 2);
  block.s = two_int8(VECTOR_WORD(6, b / 2) >> (16 * (b % 2)));
  return block;
}

float value(Chunk chunk, Block block, int low, int high, ivec2 sums) {
  return chunk.d * float(block.s.x * low + block.s.y * high);
}

#include "end_i8.glsl"
