// iq4_nl: w = step[q] * d. Planes: steps of each block; d of the blocks.
#version 460
#extension GL_GOOGLE_include_directive : require
#define SIGNED_WEIGHTS
#define TABLE
#include "begin_i8.glsl"
#include "iq4.glsl"

const int OFFSET = 0;

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
  block.w = steps(VECTOR(b));
  block.d = half_of(VECTOR_WORD(chunk.blocks, b / 2), b);
  return block;
}

float value(Chunk chunk, Block block, int low, int high, uint sums) {
  return block.d * float(high);
}

#include "end_i8.glsl"
