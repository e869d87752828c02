// q8_0: w = q * d. Planes: two of int8 for each block; d of the blocks.
#version 460
#extension GL_GOOGLE_include_directive : require
#define SIGNED_WEIGHTS
#include "begin_i8.glsl"

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
  uvec4 first = VECTOR(2 * b);
  uvec4 second = VECTOR(2 * b + 1);
  Block block;
  block.w = uint[8](first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w);
  block.d = half_of(VECTOR_WORD(2 * chunk.blocks, b / 2), b);
  return block;
}

float value(Chunk chunk, Block block, int low, int high, uint sums) {
  return block.d * float(high);
}

#include "end_i8.glsl"
