// q4_1: w = q * d + m. Planes: nibbles of each block; d of the blocks; m of the blocks.
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
  block.w = nibbles(VECTOR(b));
  block.d = half_of(VECTOR_WORD(chunk.blocks, b / 2), b);
  block.m = half_of(VECTOR_WORD(chunk.blocks + 1, b / 2), b);
  return block;
}

float value(Chunk chunk, Block block, int low, int high, uint sums) {
  return fma(block.d, float(high), block.m * float(sum_of(sums)));
}

#include "end_i8.glsl"
