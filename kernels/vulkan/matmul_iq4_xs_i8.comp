// iq4_xs: w = step[q] * d * (s - 32). Planes: steps of each block (0 to 7); two words for a row (8): d
// and the two high bits of each s, the four low bits of each s.
#version 460
#extension GL_GOOGLE_include_directive : require
#define SIGNED_WEIGHTS
#define TABLE
#include "begin_i8.glsl"
#include "iq4.glsl"

const int OFFSET = 0;

struct Chunk {
  float d;
  uint high_bits, low_bits;
};

struct Block {
  uint w[8];
  float s;
};

Chunk begin(uint at, uint blocks) {
  uint word = REST_WORD(8, 2, 0);
  return Chunk(unpackHalf2x16(word).x, word >> 16, REST_WORD(8, 2, 1));
}

Block unpack(uint at, Chunk chunk, uint b) {
  uint s = ((chunk.low_bits >> (4 * b)) & 15u) | ((chunk.high_bits >> (2 * b)) & 3u) << 4;
  return Block(steps(VECTOR(b)), float(int(s) - 32));
}

float value(Chunk chunk, Block block, int low, int high, uint sums) {
  return chunk.d * (block.s * float(high));
}

#include "end_i8.glsl"
