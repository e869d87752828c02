// q5_0: w = (q - 16) * d. Planes: nibbles of each block; high bits, four blocks a plane; d of the blocks.
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
  block.w = with_bits(nibbles(VECTOR(b)), VECTOR_WORD(chunk.blocks + b / 4, b % 4), 4);
  block.d = half_of(VECTOR_WORD(chunk.blocks + BIT_PLANES(chunk.blocks), b / 2), b);
  return block;
}

float value(Chunk chunk, Block block, int low, int high, ivec2 sums) {
  return block.d * float(high);
}

#include "end_i8.glsl"
