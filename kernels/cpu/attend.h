// Attention over a KV cache. The work is split over (row, head). Heads of one thread that share
// keys and values read them together.
//
// There are two passes: all scores of the visible positions, then the weighted sum of values. Sums
// run in the order of positions, so neither the wrap of the ring nor the grouping of heads changes
// a result.

// How many positions, or columns of a head, are processed together: with up to four heads, their
// sums over four positions or four vectors fill 16 registers.
enum { POSITIONS_TOGETHER = 4, COLUMNS_TOGETHER = 4 * LANES };
_Static_assert(HEADS_TOGETHER * POSITIONS_TOGETHER == LANES, "score_some sums them up in one vector");
_Static_assert(HEADS_TOGETHER == 4, "attend_some knows kernels for 1, 2 and 4 heads");

typedef struct {
  const float *queries;  // [count, head_dim]
  float *outputs;        // [count, head_dim]
  float *scores;         // [count, score_stride]
  int64_t score_stride;
  const uint8_t *keys;    // [capacity] rows
  const uint8_t *values;  // [capacity] rows
  int64_t row_bytes, capacity, head_dim;
  int64_t first, end;  // visible positions
  float scale;
} attention;

static INLINE const uint8_t *row_at(const attention *a, const uint8_t *rows, int64_t position) {
  return rows + position % a->capacity * a->row_bytes;
}

// Adds the products of values i ..< i + 16, of which `left` exist.
static INLINE void score_lanes(const attention *a, const uint8_t *const keys[POSITIONS_TOGETHER],
                               int64_t i, int64_t left, int heads, cpu_cache_type type,
                               f32x16 sums[POSITIONS_TOGETHER * HEADS_TOGETHER]) {
  f32x16 k[POSITIONS_TOGETHER];
#pragma clang loop unroll(full)
  for (int p = 0; p < POSITIONS_TOGETHER; p++) k[p] = kept_lanes(type, keys[p], i, left);
#pragma clang loop unroll(full)
  for (int h = 0; h < heads; h++) {
    f32x16 q = load_part(a->queries + h * a->head_dim + i, left);
#pragma clang loop unroll(full)
    for (int p = 0; p < POSITIONS_TOGETHER; p++) {
      sums[h * POSITIONS_TOGETHER + p] = sums[h * POSITIONS_TOGETHER + p] + k[p] * q;
    }
  }
}

// The scores of four positions, the last of them repeated if fewer are left.
static INLINE void score_some(const attention *a, int64_t position, int heads,
                              cpu_cache_type type) {
  int64_t count = a->end - position;
  const uint8_t *keys[POSITIONS_TOGETHER];
  for (int p = 0; p < POSITIONS_TOGETHER; p++) {
    keys[p] = row_at(a, a->keys, position + (p < count ? p : count - 1));
  }
  f32x16 sums[POSITIONS_TOGETHER * HEADS_TOGETHER];
#pragma clang loop unroll(full)
  for (int i = 0; i < POSITIONS_TOGETHER * HEADS_TOGETHER; i++) sums[i] = splat(0);
  int64_t whole = a->head_dim - a->head_dim % LANES;
  for (int64_t i = 0; i < whole; i += LANES) score_lanes(a, keys, i, LANES, heads, type, sums);
  if (whole < a->head_dim) {
    score_lanes(a, keys, whole, a->head_dim - whole, heads, type, sums);
  }
  float scores[LANES];
  store(scores, sum_lanes_16(sums) * a->scale);
  for (int h = 0; h < heads; h++) {
    for (int p = 0; p < POSITIONS_TOGETHER && p < count; p++) {
      a->scores[h * a->score_stride + position - a->first + p] = scores[h * POSITIONS_TOGETHER + p];
    }
  }
}

static INLINE void score(const attention *a, int heads, cpu_cache_type type) {
  for (int64_t position = a->first; position < a->end; position += POSITIONS_TOGETHER) {
    score_some(a, position, heads, type);
  }
}

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

static INLINE void weigh(const attention *a, const float *totals, int heads,
                         cpu_cache_type type) {
  for (int64_t column = 0; column < a->head_dim; column += COLUMNS_TOGETHER) {
    int64_t columns = a->head_dim - column;
    int vectors = columns >= COLUMNS_TOGETHER ? 4 : (int)((columns + LANES - 1) / LANES);
    f32x16 sums[HEADS_TOGETHER][4];
    for (int h = 0; h < heads; h++) {
      for (int v = 0; v < 4; v++) sums[h][v] = splat(0);
    }
    int64_t place = a->first % a->capacity;
    for (int64_t position = 0; position < a->end - a->first; position++) {
      const uint8_t *value = a->values + place * a->row_bytes;
      if (columns >= COLUMNS_TOGETHER) {
        f32x16 x[4];
        for (int v = 0; v < 4; v++) x[v] = kept_lanes(type, value, column + v * LANES, LANES);
        for (int h = 0; h < heads; h++) {
          float weight = a->scores[h * a->score_stride + position];
          for (int v = 0; v < 4; v++) sums[h][v] = sums[h][v] + x[v] * weight;
        }
      } else {
        for (int v = 0; v < vectors; v++) {
          f32x16 x = kept_lanes(type, value, column + v * LANES, columns - v * LANES);
          for (int h = 0; h < heads; h++) {
            sums[h][v] = sums[h][v] + x * a->scores[h * a->score_stride + position];
          }
        }
      }
      place = place + 1 == a->capacity ? 0 : place + 1;
    }
    for (int h = 0; h < heads; h++) {
      for (int v = 0; v < vectors; v++) {
        store_part(a->outputs + h * a->head_dim + column + v * LANES, sums[h][v] / totals[h],
                   columns - v * LANES);
      }
    }
  }
}

static INLINE void attend_heads(const attention *a, int heads, cpu_cache_type type) {
  float totals[HEADS_TOGETHER];
  score(a, heads, type);
  for (int h = 0; h < heads; h++) {
    totals[h] = exponentiate(a->scores + h * a->score_stride, a->end - a->first);
  }
  weigh(a, totals, heads, type);
}

#define DEFINE_ATTEND(name, type)                                                       \
  static void attend_1_##name(const attention *a) { attend_heads(a, 1, type); }         \
  static void attend_2_##name(const attention *a) { attend_heads(a, 2, type); }         \
  static void attend_4_##name(const attention *a) { attend_heads(a, 4, type); }

DEFINE_ATTEND(f32, CPU_CACHE_F32)
DEFINE_ATTEND(f16, CPU_CACHE_F16)
DEFINE_ATTEND(q8_0, CPU_CACHE_Q8_0)

// The functions for each cache type, for one, two and four heads.
static void (*const attend_by_heads[3][3])(const attention *) = {
    [CPU_CACHE_F32] = {attend_1_f32, attend_2_f32, attend_4_f32},
    [CPU_CACHE_F16] = {attend_1_f16, attend_2_f16, attend_4_f16},
    [CPU_CACHE_Q8_0] = {attend_1_q8_0, attend_2_q8_0, attend_4_q8_0},
};

// Processes up to HEADS_TOGETHER heads of a row from `head` on, all of the same KV head; returns
// how many.
static int64_t attend_some(const cpu_attend_args *args, const cpu_step *step, int64_t row,
                           int64_t head, int64_t heads, float *scratch, int64_t scratch_floats) {
  const cpu_cache *cache = &args->cache;
  const cpu_row *source = &step->rows[args->queries.row_set][row];
  int64_t kv_head = head / (args->heads / cache->kv_heads);
  int64_t base = source->slot * cache->slot_bytes + kv_head * cache->capacity * cache->row_bytes;
  int64_t end = (int64_t)source->position + 1;
  attention a = {
      .queries = plane_row(&args->queries, step, row) + head * cache->head_dim,
      .outputs = plane_row(&args->output, step, row) + head * cache->head_dim,
      .scores = scratch,
      .score_stride = scratch_floats / HEADS_TOGETHER,
      .keys = cache->keys + base,
      .values = cache->values + base,
      .row_bytes = cache->row_bytes,
      .capacity = cache->capacity,
      .head_dim = cache->head_dim,
      .first = end > cache->window ? end - cache->window : 0,
      .end = end,
      .scale = args->scale,
  };
  int choice = heads >= 4 ? 2 : heads >= 2 ? 1 : 0;
  attend_by_heads[cache->type][choice](&a);
  return (int64_t)1 << choice;
}

static void attend(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_attend_args *args = arguments;
  int64_t sharing = args->heads / args->cache.kv_heads;
  float *scratch = (float *)(step->scratch + thread * step->scratch_bytes);
  int64_t scratch_floats = step->scratch_bytes / (int64_t)sizeof(float);
  range units = share(step->counts[args->queries.row_set] * args->heads, thread, threads);
  for (int64_t unit = units.first; unit < units.end;) {
    int64_t head = unit % args->heads;
    int64_t of_same_kv_head = sharing - head % sharing;
    int64_t left = units.end - unit;
    unit += attend_some(args, step, unit / args->heads, head,
                        left < of_same_kv_head ? left : of_same_kv_head, scratch, scratch_floats);
  }
}
