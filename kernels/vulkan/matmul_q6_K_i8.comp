// q6_K: w = (q - 32) * d * s, s for 16 weights. Planes: nibbles of each block (0 to 7); pairs, two blocks a
// plane (8 to 11); s as int8 (12); d, half a word for a row (13).
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"

float d;
ivec2 s;

void begin(uint at, uint blocks) {
  d = REST_HALF(13);
}

void unpack(uint at, uint b) {
  unpack_nibbles(VECTOR(b));
  uint pairs[2] = {VECTOR_WORD(8 + b / 2, b % 2 * 2), VECTOR_WORD(8 + b / 2, b % 2 * 2 + 1)};
  [[unroll]] for (uint k = 0; k < 8; k++) w[k] |= PAIRS(pairs, k) << 4;
  int both = int(VECTOR_WORD(12, b / 2) >> (16 * (b % 2)));
  s = ivec2(bitfieldExtract(both, 0, 8), bitfieldExtract(both, 8, 8));
}

float value(int low, int high, ivec2 sums) {
  return d * float(s.x * (low - 32 * sums.x) + s.y * (high - 32 * sums.y));
}

#include "end_i8.glsl"
