// q5_K: w = q * d * s - dmin * m. Planes: nibbles of each block (0 to 7); high bits, four blocks a plane
// (8, 9); d, dmin, s and m (10).
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"
#include "k_scales.glsl"

Chunk begin(uint at, uint blocks) { return chunk_of(VECTOR(10)); }

Block unpack(uint at, Chunk chunk, uint b) {
  return Block(with_bits(nibbles(VECTOR(b)), VECTOR_WORD(8 + b / 4, b % 4), 4), field(chunk.fields, b), field(chunk.fields, 8 + b));
}

#include "end_i8.glsl"
