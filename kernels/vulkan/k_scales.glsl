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
  int s, m;
};

Chunk chunk_of(uvec4 vector) {
  vec2 both = unpackHalf2x16(vector.x);
  return Chunk(both.x, both.y, vector.yzw);
}

int field(uvec3 fields, uint number) {
  if (number == 15) return int((fields.x >> 30) | (fields.y >> 30) << 2 | (fields.z >> 30) << 4);
  uint word = number < 5 ? fields.x : number < 10 ? fields.y : fields.z;
  return int(bitfieldExtract(word, int(number % 5) * 6, 6));
}

float value(Chunk chunk, Block block, int low, int high, ivec2 sums) {
  return fma(chunk.d, float(block.s * high), -(chunk.dmin * float(block.m * (sums.x + sums.y))));
}
