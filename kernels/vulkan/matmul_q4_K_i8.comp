// q4_K: w = q * d * s - dmin * m. Planes: nibbles of each block (0 to 7); d, dmin, s and m (8).
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"
#include "k_scales.glsl"

Chunk begin(uint at, uint blocks) { return chunk_of(VECTOR(8)); }

Block unpack(uint at, Chunk chunk, uint b) {
  return Block(nibbles(VECTOR(b)), scale_of(chunk, b), minimum_of(chunk, b));
}

#include "end_i8.glsl"
