// q4_K: w = q * d * s - dmin * m. Planes: nibbles of each block (0 to 7); d, dmin, s and m (8).
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"
#include "k_scales.glsl"

void begin(uint at, uint blocks) { begin_fields(VECTOR(8)); }

void unpack(uint at, uint b) {
  unpack_nibbles(VECTOR(b));
  read_fields(b);
}

#include "end_i8.glsl"
