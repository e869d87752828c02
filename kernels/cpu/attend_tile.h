// The tiles of attention: scores of some heads of a row over a block of keys, their weights, and the
// weighted sum of a block of values.
//
// The sums of every head run in the order of positions and, in a score, of columns, so neither the
// size of blocks nor how many heads a tile has changes a result.

// A tile is what is summed in registers: 16 sums, of one to eight heads over four or two positions
// of keys, or over four or two vectors of a value.
#define POSITIONS(heads) ((heads) > 4 ? 2 : 4)
#define VECTORS(heads) ((heads) > 4 ? 2 : 4)
enum { TILE_SUMS = 16 };
_Static_assert(HEADS_TOGETHER == 8 && HEADS_TOGETHER * POSITIONS(HEADS_TOGETHER) == TILE_SUMS,
               "there are tiles of 1, 2, 4 and 8 heads, whose sums are added in one vector");

// The keys and values of one KV head of one slot, in blocks that do not wrap around the ring.
typedef struct {
  const uint8_t *keys;    // [capacity] rows
  const uint8_t *values;  // [capacity] rows
  int64_t row_bytes, capacity, head_dim;
  int64_t block;         // positions, at most
  float *decoded;        // [block, head_dim], for several rows of q8_0
  int64_t score_stride;  // from head to head
  float scale;
} attended;

// Heads of one row that attend to them.
typedef struct {
  const float *queries;  // [heads, head_dim]
  float *outputs;        // [heads, head_dim]
  float *scores;         // [heads, score_stride], from position `first` on
  int64_t first, end;    // visible positions
} attending;

// The positions of a block that a row sees, and their keys or values.
typedef struct {
  int64_t first, end;  // positions
  const uint8_t *kept;
  int64_t row_bytes;
  int64_t ahead;  // bytes from a row to the one to prefetch; 0 if the block is in the cache
} seen;

// A pass over a block: scores, or the weighted sum.
typedef void attend_pass(const attended *, const attending *, seen);

// Prefetches values i ..< i + 16 of the row that is `ahead`. The processor does not foresee which
// lines several rows, or several columns of them, need next.
static INLINE void prefetch_ahead(cpu_cache_type type, seen range, const uint8_t *row, int64_t i) {
  if (type != CPU_CACHE_F32 && i % 32 != 0) return;  // in the line of the values before
  int64_t offset = type == CPU_CACHE_F32   ? i * BYTES_f32
                   : type == CPU_CACHE_F16 ? i * BYTES_f16
                                           : i / COLUMNS_q8_0 * BYTES_q8_0;
  __builtin_prefetch(row + range.ahead + offset);
}

// --- Scores --------------------------------------------------------------------------------------

// Adds the products of values i ..< i + 16, of which `left` exist.
static INLINE void score_lanes(const attended *a, const attending *row, seen range,
                               const uint8_t *const keys[4], int64_t i, int64_t left, int heads,
                               cpu_cache_type type, f32x16 sums[TILE_SUMS]) {
  int positions = POSITIONS(heads);
  f32x16 k[4];
#pragma clang loop unroll(full)
  for (int p = 0; p < positions; p++) {
    prefetch_ahead(type, range, keys[p], i);
    k[p] = kept_lanes(type, keys[p], i, left);
  }
#pragma clang loop unroll(full)
  for (int h = 0; h < heads; h++) {
    f32x16 q = load_part(row->queries + h * a->head_dim + i, left);
#pragma clang loop unroll(full)
    for (int p = 0; p < positions; p++) {
      sums[h * positions + p] = sums[h * positions + p] + k[p] * q;
    }
  }
}

// The scores of the first positions of a range, the last of them repeated if fewer are left.
static INLINE void score_tile(const attended *a, const attending *row, seen range, int heads,
                              cpu_cache_type type) {
  int positions = POSITIONS(heads);
  int64_t count = range.end - range.first;
  const uint8_t *keys[4];
  for (int p = 0; p < positions; p++) {
    keys[p] = range.kept + (p < count ? p : count - 1) * range.row_bytes;
  }
  f32x16 sums[TILE_SUMS];
#pragma clang loop unroll(full)
  for (int i = 0; i < TILE_SUMS; i++) sums[i] = splat(0);
  int64_t whole = a->head_dim - a->head_dim % LANES;
  for (int64_t i = 0; i < whole; i += LANES) {
    score_lanes(a, row, range, keys, i, LANES, heads, type, sums);
  }
  if (whole < a->head_dim) {
    score_lanes(a, row, range, keys, whole, a->head_dim - whole, heads, type, sums);
  }
  float scores[LANES];
  store(scores, sum_lanes_16(sums) * a->scale);
  float *out = row->scores + (range.first - row->first);
  for (int h = 0; h < heads; h++) {
    for (int p = 0; p < positions && p < count; p++) {
      out[h * a->score_stride + p] = scores[h * positions + p];
    }
  }
}

static INLINE void score_block(const attended *a, const attending *row, seen range, int heads,
                               cpu_cache_type type) {
  while (range.first < range.end) {
    score_tile(a, row, range, heads, type);
    range.first += POSITIONS(heads);
    range.kept += POSITIONS(heads) * range.row_bytes;
  }
}

// --- Weights -------------------------------------------------------------------------------------

// Turns scores into weights e^(score - highest) and returns their sum.
static INLINE float exponentiate(float *scores, int64_t count) {
  f32x16 highest = splat(scores[0]);
  int64_t whole = count - count % LANES;
  for (int64_t i = 0; i < whole; i += LANES) highest = larger(load(scores + i), highest);
  float top = __builtin_reduce_max(highest);
  for (int64_t i = whole; i < count; i++) top = scores[i] > top ? scores[i] : top;
  f32x16 sum = splat(0);
  for (int64_t i = 0; i < count; i += LANES) {
    int64_t left = count - i;
    f32x16 weight = exponential(load_part(scores + i, left) - top);
    store_part(scores + i, weight, left);
    sum = sum + load_part(scores + i, left);
  }
  return sum_lanes(sum);
}

// --- The weighted sum of values ------------------------------------------------------------------

// Adds the weighted values of a range to the outputs' columns from `column` on, `left` of which
// exist. The outputs hold the sums of the positions before.
static INLINE void weigh_tile(const attended *a, const attending *row, seen range, int64_t column,
                              int64_t left, int heads, cpu_cache_type type) {
  int vectors = VECTORS(heads);
  f32x16 sums[TILE_SUMS];
#pragma clang loop unroll(full)
  for (int h = 0; h < heads; h++) {
    const float *before = row->outputs + h * a->head_dim + column;
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      bool has_sum = range.first > row->first && left > v * LANES;
      sums[h * vectors + v] = has_sum ? load_part(before + v * LANES, left - v * LANES) : splat(0);
    }
  }
  const float *weights = row->scores + (range.first - row->first);
  for (int64_t p = 0; p < range.end - range.first; p++, range.kept += range.row_bytes) {
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      if (left <= v * LANES) break;
      prefetch_ahead(type, range, range.kept, column + v * LANES);
      f32x16 x = kept_lanes(type, range.kept, column + v * LANES, left - v * LANES);
#pragma clang loop unroll(full)
      for (int h = 0; h < heads; h++) {
        sums[h * vectors + v] = sums[h * vectors + v] + x * weights[h * a->score_stride + p];
      }
    }
  }
#pragma clang loop unroll(full)
  for (int h = 0; h < heads; h++) {
    float *after = row->outputs + h * a->head_dim + column;
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      if (left <= v * LANES) break;
      store_part(after + v * LANES, sums[h * vectors + v], left - v * LANES);
    }
  }
}

static INLINE void weigh_block(const attended *a, const attending *row, seen range, int heads,
                               cpu_cache_type type) {
  int64_t columns = VECTORS(heads) * LANES;
  int64_t whole = a->head_dim - a->head_dim % columns;
  for (int64_t column = 0; column < whole; column += columns) {
    weigh_tile(a, row, range, column, columns, heads, type);
  }
  if (whole < a->head_dim) {
    weigh_tile(a, row, range, whole, a->head_dim - whole, heads, type);
  }
}

// Divides the sums by the sum of the weights.
static INLINE void divide(const attended *a, float *output, float total) {
  for (int64_t i = 0; i < a->head_dim; i += LANES) {
    int64_t left = a->head_dim - i;
    store_part(output + i, load_part(output + i, left) / total, left);
  }
}
