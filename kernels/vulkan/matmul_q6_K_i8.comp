// q6_K: w = (q - 32) * d * s, s for 16 weights. Planes: nibbles of each block (0 to 7); pairs, two blocks a
// plane (8 to 11); s as int8 (12); d, half a word for a row (13).
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
  ivec2 s;
};

Chunk begin(uint at, uint blocks) { return Chunk(REST_HALF(13)); }

Block unpack(uint at, Chunk chunk, uint b) {
  Block block;
  uvec2 words = uvec2(VECTOR_WORD(8 + b / 2, b % 2 * 2), VECTOR_WORD(8 + b / 2, b % 2 * 2 + 1));
  block.w = with_pairs(nibbles(VECTOR(b)), words, 4);
  block.s = two_int8(VECTOR_WORD(12, b / 2) >> (16 * (b % 2)));
  return block;
}

float value(Chunk chunk, Block block, int low, int high, ivec2 sums) {
  return chunk.d * float(block.s.x * low + block.s.y * high);
}

#include "end_i8.glsl"
