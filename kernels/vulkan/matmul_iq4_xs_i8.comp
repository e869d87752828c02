// iq4_xs: w = step[q] * d * (s - 32). Planes: nibbles of each block (0 to 7); two words for a row (8): d
// and the two high bits of each s, the four low bits of each s.
#version 460
#extension GL_GOOGLE_include_directive : require
#define SIGNED_WEIGHTS
#include "begin_i8.glsl"
#include "iq4.glsl"

float d;
uint high_bits, low_bits;
int s;

void begin(uint at, uint blocks) {
  uint word = REST_WORD(8, 2, 0);
  d = unpackHalf2x16(word).x;
  high_bits = word >> 16;
  low_bits = REST_WORD(8, 2, 1);
}

void unpack(uint at, uint b) {
  unpack_nibbles(VECTOR(b));
  look_up_steps();
  s = int(((low_bits >> (4 * b)) & 15u) | ((high_bits >> (2 * b)) & 3u) << 4) - 32;
}

float value(int low, int high, ivec2 sums) { return d * float(s * (low + high)); }

#include "end_i8.glsl"
