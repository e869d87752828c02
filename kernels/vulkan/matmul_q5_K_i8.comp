// q5_K: w = q * d * s - dmin * m. Planes: nibbles of each block (0 to 7); high bits, four blocks a plane
// (8, 9); d, dmin, s and m (10).
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"
#include "k_scales.glsl"

void begin(uint at, uint blocks) { begin_fields(VECTOR(10)); }

void unpack(uint at, uint b) {
  unpack_nibbles(VECTOR(b));
  uint bits = VECTOR_WORD(8 + b / 4, b % 4);
  [[unroll]] for (uint k = 0; k < 8; k++) w[k] |= BITS(bits, k) << 4;
  read_fields(b);
}

#include "end_i8.glsl"
