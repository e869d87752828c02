// q3_K: w = (q - 4) * d * s, s for 16 weights. Planes: pairs, two blocks a plane (0 to 3); high bits, four
// blocks a plane (4, 5); s as int8 (6); d, half a word for a row (7).
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"

float d;
ivec2 s;

void begin(uint at, uint blocks) {
  d = REST_HALF(7);
}

void unpack(uint at, uint b) {
  uint pairs[2] = {VECTOR_WORD(b / 2, b % 2 * 2), VECTOR_WORD(b / 2, b % 2 * 2 + 1)};
  uint bits = VECTOR_WORD(4 + b / 4, b % 4);
  [[unroll]] for (uint k = 0; k < 8; k++) w[k] = PAIRS(pairs, k) | BITS(bits, k) << 2;
  int both = int(VECTOR_WORD(6, b / 2) >> (16 * (b % 2)));
  s = ivec2(bitfieldExtract(both, 0, 8), bitfieldExtract(both, 8, 8));
}

float value(int low, int high, ivec2 sums) {
  return d * float(s.x * (low - 4 * sums.x) + s.y * (high - 4 * sums.y));
}

#include "end_i8.glsl"
