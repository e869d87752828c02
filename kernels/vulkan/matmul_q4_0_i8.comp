// q4_0: w = (q - 8) * d. Planes: nibbles of each block; d of the blocks.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"

const int OFFSET = 8;

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
  block.w = nibbles(VECTOR(b));
  block.d = half_of(VECTOR_WORD(chunk.blocks, b / 2), b);
  return block;
}

float value(Chunk chunk, Block block, int low, int high, uint sums) {
  return block.d * float(high);
}

#include "end_i8.glsl"
