// The scales s and minima m of q4_K and q5_K: a vector for a row, with d and dmin in its first word and
// sixteen numbers of six bits in the others: five in each, s of block b is the number b, m the number 8 + b,
// and what the three have left over makes the last.

float d, dmin;
uvec3 fields;
int s, m;

void begin_fields(uvec4 vector) {
  vec2 both = unpackHalf2x16(vector.x);
  d = both.x;
  dmin = both.y;
  fields = vector.yzw;
}

int field(uint number) {
  if (number == 15) return int((fields.x >> 30) | (fields.y >> 30) << 2 | (fields.z >> 30) << 4);
  uint word = number < 5 ? fields.x : number < 10 ? fields.y : fields.z;
  return int(bitfieldExtract(word, int(number % 5) * 6, 6));
}

void read_fields(uint b) {
  s = field(b);
  m = field(8 + b);
}

float value(int low, int high, ivec2 sums) {
  return fma(d, float(s * (low + high)), -(dmin * float(m * (sums.x + sums.y))));
}
