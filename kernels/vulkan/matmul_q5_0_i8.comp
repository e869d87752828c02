// q5_0: w = (q - 16) * d. Planes: fives, A to D of each block, E of four blocks a plane; d of the blocks.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"

const int OFFSET = 16;

struct Chunk {
  uint blocks;
};

struct Block {
  uint w[8];
  float d;
};

Chunk begin(uint at, uint blocks) { return Chunk(blocks); }

Block unpack(uint at, Chunk chunk, uint b) {
  Block block;
  block.w = fives(VECTOR(b), VECTOR_WORD(chunk.blocks + b / 4, b % 4));
  block.d = half_of(VECTOR_WORD(chunk.blocks + WORD_PLANES(chunk.blocks), b / 2), b);
  return block;
}

float value(Chunk chunk, Block block, int low, int high, uint sums) {
  return block.d * float(high);
}

#include "end_i8.glsl"
