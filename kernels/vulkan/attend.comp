// Attention of one row to one segment of the positions it sees, for HEADS query heads that share a KV head:
// the largest score, the sum of the powers and the weighted sum of values. attend_merge puts segments
// together.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "row.glsl"
#include "cache.glsl"
#include "step_rows.glsl"
#include "segments.glsl"

layout(constant_id = 1) const uint HEADS = 1;
layout(constant_id = 2) const uint HEAD_DIM = 256;
layout(constant_id = 3) const uint TYPE = CACHE_F16;

layout(binding = 1) readonly buffer Queries { float queries[]; };
layout(binding = 2) readonly buffer CachedKeys { uint cached_keys[]; };
layout(binding = 3) readonly buffer CachedValues { uint cached_values[]; };
layout(binding = 4) writeonly buffer Sums { vec2 sums[]; };    // [rows, heads, segments, head_dim / 2]
layout(binding = 5) writeonly buffer Powers { vec2 powers[]; };  // [rows, heads, segments]: largest, sum

shared float query[HEADS * HEAD_DIM];
shared float scores[HEADS * SEGMENT];

// The scale of a block of a line of q8_0.
#define SCALE(words, start, block) \
  unpackHalf2x16(words[(start) + HEAD_DIM / 4 + (block) / 2])[(block) & 1u]

// The four int8 of a word.
vec4 four_int8(uint word) {
  int bits = int(word);
  return vec4(
      bitfieldExtract(bits, 0, 8), bitfieldExtract(bits, 8, 8), bitfieldExtract(bits, 16, 8), bits >> 24);
}

vec2 key_pair(uint pair) {
  if (TYPE == CACHE_F16) return unpackHalf2x16(cached_keys[pair]);
  return uintBitsToFloat(uvec2(cached_keys[2 * pair], cached_keys[2 * pair + 1]));
}

float dots[HEADS];

// Makes `dots` the products of the queries with the key of a line.
void multiply(uint line) {
  [[unroll]] for (uint h = 0; h < HEADS; h++) dots[h] = 0;
  if (TYPE == CACHE_Q8_0) {
    uint start = line * Q8_0_WORDS(HEAD_DIM);
    for (uint block = 0; block < HEAD_DIM / 32; block++) {
      float own[HEADS];
      [[unroll]] for (uint h = 0; h < HEADS; h++) own[h] = 0;
      for (uint word = 8 * block; word < 8 * block + 8; word++) {
        vec4 key = four_int8(cached_keys[start + word]);
        [[unroll]] for (uint h = 0; h < HEADS; h++) {
          [[unroll]] for (uint i = 0; i < 4; i++) {
            own[h] = fma(query[h * HEAD_DIM + 4 * word + i], key[i], own[h]);
          }
        }
      }
      float key_scale = SCALE(cached_keys, start, block);
      [[unroll]] for (uint h = 0; h < HEADS; h++) dots[h] = fma(key_scale, own[h], dots[h]);
    }
    return;
  }
  for (uint i = 0; i < HEAD_DIM; i += 2) {
    vec2 key = key_pair((line * HEAD_DIM + i) / 2);
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
      dots[h] = fma(query[h * HEAD_DIM + i], key.x, dots[h]);
      dots[h] = fma(query[h * HEAD_DIM + i + 1], key.y, dots[h]);
    }
  }
}

// Two values of a line.
vec2 value_pair(uint line, uint pair) {
  if (TYPE == CACHE_Q8_0) {
    uint start = line * Q8_0_WORDS(HEAD_DIM);
    vec4 word = four_int8(cached_values[start + pair / 2]);
    return ((pair & 1u) == 0 ? word.xy : word.zw) * SCALE(cached_values, start, pair / 16);
  }
  uint at = line * (HEAD_DIM / 2) + pair;
  if (TYPE == CACHE_F16) return unpackHalf2x16(cached_values[at]);
  return uintBitsToFloat(uvec2(cached_values[2 * at], cached_values[2 * at + 1]));
}

void main() {
  uint row = first_row + gl_WorkGroupID.x;
  ivec4 place = step_rows[row_base + row];
  uvec2 seen = seen_by(place.y);
  uint start = (seen.x / SEGMENT + gl_WorkGroupID.z) * SEGMENT;
  if (start >= seen.y) return;
  uint from = max(start, seen.x);
  uint until = min(start + SEGMENT, seen.y);
  uint head = gl_WorkGroupID.y * HEADS;
  uint line = (uint(place.x) * kv_heads + head / (heads / kv_heads)) * capacity;

  for (uint i = LANE; i < HEADS * HEAD_DIM; i += THREADS) {
    query[i] = queries[(row * heads + head) * HEAD_DIM + i];
  }
  barrier();

  float most[HEADS];
  [[unroll]] for (uint h = 0; h < HEADS; h++) most[h] = -1.0 / 0.0;
  for (uint p = from + LANE; p < until; p += THREADS) {
    multiply(line + p % capacity);
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
      float score = dots[h] * scale;
      scores[h * SEGMENT + p - start] = score;
      most[h] = max(most[h], score);
    }
  }

  uint place_of_first = ((gl_WorkGroupID.x * heads + head) * segments) + gl_WorkGroupID.z;
  [[unroll]] for (uint h = 0; h < HEADS; h++) {
    float largest = row_max(most[h]);
    float total = 0;
    for (uint p = from + LANE; p < until; p += THREADS) {
      float power = exp(scores[h * SEGMENT + p - start] - largest);
      scores[h * SEGMENT + p - start] = power;
      total += power;
    }
    total = row_sum(total);
    if (LANE == 0) powers[place_of_first + h * segments] = vec2(largest, total);
  }
  barrier();

  for (uint pair = LANE; pair < HEAD_DIM / 2; pair += THREADS) {
    vec2 weighted[HEADS];
    [[unroll]] for (uint h = 0; h < HEADS; h++) weighted[h] = vec2(0);
    for (uint p = from; p < until; p++) {
      vec2 value = value_pair(line + p % capacity, pair);
      [[unroll]] for (uint h = 0; h < HEADS; h++) {
        weighted[h] = fma(vec2(scores[h * SEGMENT + p - start]), value, weighted[h]);
      }
    }
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
      sums[(place_of_first + h * segments) * (HEAD_DIM / 2) + pair] = weighted[h];
    }
  }
}
