// The scales s and minima m of q4_K and q5_K: a vector for a row, with d and dmin in its first word and
// sixteen numbers of six bits in the others: five in each, s of block b is the number b, m the number 8 + b,
// and what the three have left over makes the last.

const int OFFSET = 0;

struct Chunk {
  float d, dmin;
  uvec3 fields;
};

struct Block {
  uint w[8];
  float s, m;
};

Chunk chunk_of(uvec4 vector) {
  vec2 both = unpackHalf2x16(vector.x);
  return Chunk(both.x, both.y, vector.yzw);
}

float field(uvec3 fields, uint number) {
  uint word = number < 5 ? fields.x : number < 10 ? fields.y : fields.z;
  return float(bitfieldExtract(word, int(number % 5) * 6, 6));
}

float scale_of(Chunk chunk, uint b) { return field(chunk.fields, b); }

float minimum_of(Chunk chunk, uint b) {
  uvec3 left_over = chunk.fields >> 30;
  return b == 7 ? float(left_over.x | left_over.y << 2 | left_over.z << 4)
                : field(chunk.fields, 8 + b);
}

float value(Chunk chunk, Block block, int low, int high, uint sums) {
  float minimum = block.m * float(sum_of(sums));
  return fma(chunk.d, block.s * float(high), -(chunk.dmin * minimum));
}
