// q5_1: w = q * d + m. Planes: fives, A to D of each block, E of four blocks a plane; d of the blocks; m of
// the blocks.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"

const int OFFSET = 0;

struct Chunk {
  uint blocks;
};

struct Block {
  uint w[8];
  float d, m;
};

Chunk begin(uint at, uint blocks) { return Chunk(blocks); }

Block unpack(uint at, Chunk chunk, uint b) {
  Block block;
  block.w = fives(VECTOR(b), VECTOR_WORD(chunk.blocks + b / 4, b % 4));
  uint scales_at = chunk.blocks + WORD_PLANES(chunk.blocks);
  block.d = half_of(VECTOR_WORD(scales_at, b / 2), b);
  block.m = half_of(VECTOR_WORD(scales_at + 1, b / 2), b);
  return block;
}

float value(Chunk chunk, Block block, int low, int high, uint sums) {
  return fma(block.d, float(high), block.m * float(sum_of(sums)));
}

#include "end_i8.glsl"
