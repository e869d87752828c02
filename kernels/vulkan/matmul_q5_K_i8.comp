// q5_K: w = q * d * s - dmin * m. Planes: fives, A to D of each block (0 to 7), E of four blocks a
// plane (8, 9); d, dmin, s and m (10).
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"
#include "k_scales.glsl"

Chunk begin(uint at, uint blocks) { return chunk_of(VECTOR(10)); }

Block unpack(uint at, Chunk chunk, uint b) {
  uint[8] w = fives(VECTOR(b), VECTOR_WORD(8 + b / 4, b % 4));
  return Block(w, scale_of(chunk, b), minimum_of(chunk, b));
}

#include "end_i8.glsl"
