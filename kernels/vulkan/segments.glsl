// How attention divides the positions that a row sees: segments of fixed absolute positions, so that a row
// gives the same bits whatever is computed beside it.

const uint SEGMENT = 256;

layout(push_constant) uniform Arguments {
  uint rows;
  uint first_row;  // of the dispatch
  uint row_base;   // where the row set begins among the step's rows
  uint heads, kv_heads;
  uint capacity, window;
  uint segments;  // the most that a row may have, for which there is room in `sums`
  float scale;
};

// The positions that a row sees: from x until before y.
uvec2 seen_by(int position) {
  uint end = uint(position) + 1;
  return uvec2(end > window ? end - window : 0, end);
}
