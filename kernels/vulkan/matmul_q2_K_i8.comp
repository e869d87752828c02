// q2_K: w = q * d * s - dmin * m, s and m for 16 weights. Planes: pairs, two blocks a plane (0 to 3); s low
// and m high in a byte (4); d and dmin, a word for a row (5).
#version 460
#extension GL_GOOGLE_include_directive : require
#include "begin_i8.glsl"

float d, dmin;
uvec2 s, m;

void begin(uint at, uint blocks) {
  vec2 both = unpackHalf2x16(REST_WORD(5, 1, 0));
  d = both.x;
  dmin = both.y;
}

void unpack(uint at, uint b) {
  uint pairs[2] = {VECTOR_WORD(b / 2, b % 2 * 2), VECTOR_WORD(b / 2, b % 2 * 2 + 1)};
  [[unroll]] for (uint k = 0; k < 8; k++) w[k] = PAIRS(pairs, k);
  uint both = VECTOR_WORD(4, b / 2) >> (16 * (b % 2));
  s = uvec2(both, both >> 8) & 15u;
  m = uvec2(both >> 4, both >> 12) & 15u;
}

float value(int low, int high, ivec2 sums) {
  int product = int(s.x) * low + int(s.y) * high;
  int minimum = int(m.x) * sums.x + int(m.y) * sums.y;
  return fma(d, float(product), -(dmin * float(minimum)));
}

#include "end_i8.glsl"
