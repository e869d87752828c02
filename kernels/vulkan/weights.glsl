// Packed weights. Sixteen rows are a tile; a tile's 256 columns are a chunk, or what is left of them. What
// a chunk consists of is drawn in pack.c. A lane has one row, so adjacent lanes read adjacent 16 bytes.

layout(binding = 0) readonly buffer Weights { uvec4 weights[]; };
layout(binding = 0) readonly buffer WeightWords { uint weight_words[]; };

const uint TILE = 16;

layout(push_constant) uniform Arguments {
  uint tokens;         // rows of activations
  uint rows, columns;  // of the weights
  uint tile_vectors, chunk_vectors;  // 16-byte vectors of a tile, and of its whole chunks
  uint stride, first;  // of the output: its width, and the column of the first row
  float softcap;       // 0 for none
};

// The vector of the calling lane's row in plane `plane` of the chunk at `at`.
#define VECTOR(plane) weights[at + TILE * (plane)]
// One of its four words.
#define VECTOR_WORD(plane, word) weight_words[4 * (at + TILE * (plane)) + (word)]
// A word of the rest behind the planes, of which each row has `words`.
#define REST_WORD(plane, words, word) \
  weight_words[4 * (at - row_in_tile + TILE * (plane)) + row_in_tile * (words) + (word)]
// The f16 that each row has of the rest.
#define REST_HALF(plane) \
  half_of(weight_words[4 * (at - row_in_tile + TILE * (plane)) + row_in_tile / 2], row_in_tile)

float half_of(uint pair, uint which) {
  vec2 halves = unpackHalf2x16(pair);
  return (which & 1u) == 0 ? halves.x : halves.y;
}
