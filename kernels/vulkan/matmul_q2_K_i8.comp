// q2_K: w = q * d * s - dmin * m, s and m for 16 weights. Planes: twos, two blocks a plane (0 to 3); s low
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
  vec2 s, m;
};

Chunk begin(uint at, uint blocks) {
  vec2 both = unpackHalf2x16(REST_WORD(5, 1, 0));
  return Chunk(both.x, both.y);
}

Block unpack(uint at, Chunk chunk, uint b) {
  Block block;
  uvec2 words = uvec2(VECTOR_WORD(b / 2, b % 2 * 2), VECTOR_WORD(b / 2, b % 2 * 2 + 1));
  block.w = twos(words);
  uint both = VECTOR_WORD(4, b / 2) >> (16 * (b % 2));
  block.s = two_uint8(both & 0x0f0fu);
  block.m = two_uint8((both >> 4) & 0x0f0fu);
  return block;
}

float value(Chunk chunk, Block block, int low, int high, uint sums) {
  vec2 halves = vec2(halves_of(sums));
  float product = fma(block.s.y, float(high), block.s.x * float(low));
  float minimum = fma(block.m.y, halves.y, block.m.x * halves.x);
  return fma(chunk.d, product, -(chunk.dmin * minimum));
}

#include "end_i8.glsl"
