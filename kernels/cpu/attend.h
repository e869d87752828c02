// Attention over a KV cache. Split over (row, head); heads that share keys and values and fall to
// the same thread read them together.
//
// Two passes: all scores of the visible positions, then the weighted sum of values. Sums run by
// position, so neither the ring's wrap nor the grouping of heads changes a result.

// Elements of keys and values have one type, here alone.
typedef float kv_element;

static INLINE f32x16 load_kv(const kv_element *p, int64_t left) { return load_part(p, left); }

// Heads that are done together: their sums over four vectors of a head fill 16 registers.
enum { HEADS_TOGETHER = 4, COLUMNS_TOGETHER = 4 * LANES };

typedef struct {
  const float *queries;  // [count, head_dim]
  float *outputs;        // [count, head_dim]
  float *scores;         // [count, score_stride]
  int64_t score_stride;
  const kv_element *keys;    // [capacity, head_dim]
  const kv_element *values;  // [capacity, head_dim]
  int64_t capacity, head_dim;
  int64_t first, end;  // visible positions
  float scale;
} attention;

static INLINE void score(const attention *a, int heads) {
  int64_t place = a->first % a->capacity;
  for (int64_t position = a->first; position < a->end; position++) {
    const kv_element *key = a->keys + place * a->head_dim;
    f32x16 sums[HEADS_TOGETHER];
    for (int h = 0; h < heads; h++) sums[h] = splat(0);
    for (int64_t i = 0; i < a->head_dim; i += LANES) {
      int64_t left = a->head_dim - i;
      f32x16 k = load_kv(key + i, left);
      for (int h = 0; h < heads; h++) {
        sums[h] = sums[h] + k * load_part(a->queries + h * a->head_dim + i, left);
      }
    }
    for (int h = 0; h < heads; h++) {
      a->scores[h * a->score_stride + position - a->first] = sum_lanes(sums[h]) * a->scale;
    }
    place = place + 1 == a->capacity ? 0 : place + 1;
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

static INLINE void weigh(const attention *a, const float *totals, int heads) {
  for (int64_t column = 0; column < a->head_dim; column += COLUMNS_TOGETHER) {
    int64_t columns = a->head_dim - column;
    int vectors = columns >= COLUMNS_TOGETHER ? 4 : (int)((columns + LANES - 1) / LANES);
    f32x16 sums[HEADS_TOGETHER][4];
    for (int h = 0; h < heads; h++) {
      for (int v = 0; v < 4; v++) sums[h][v] = splat(0);
    }
    int64_t place = a->first % a->capacity;
    for (int64_t position = 0; position < a->end - a->first; position++) {
      const kv_element *value = a->values + place * a->head_dim + column;
      if (columns >= COLUMNS_TOGETHER) {
        f32x16 x[4];
        for (int v = 0; v < 4; v++) x[v] = load_kv(value + v * LANES, LANES);
        for (int h = 0; h < heads; h++) {
          float weight = a->scores[h * a->score_stride + position];
          for (int v = 0; v < 4; v++) sums[h][v] = sums[h][v] + x[v] * weight;
        }
      } else {
        for (int v = 0; v < vectors; v++) {
          f32x16 x = load_kv(value + v * LANES, columns - v * LANES);
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

static INLINE void attend_heads(const attention *a, int heads) {
  float totals[HEADS_TOGETHER];
  score(a, heads);
  for (int h = 0; h < heads; h++) {
    totals[h] = exponentiate(a->scores + h * a->score_stride, a->end - a->first);
  }
  weigh(a, totals, heads);
}

static void attend_1(const attention *a) { attend_heads(a, 1); }
static void attend_2(const attention *a) { attend_heads(a, 2); }
static void attend_4(const attention *a) { attend_heads(a, 4); }

// Does up to HEADS_TOGETHER heads of a row, the first `head`, all of one KV head; returns how many.
static int64_t attend_some(const cpu_attend_args *args, const cpu_step *step, int64_t row,
                           int64_t head, int64_t heads, float *scratch, int64_t scratch_floats) {
  const cpu_cache *cache = &args->cache;
  const cpu_row *source = &step->rows[args->queries.row_set][row];
  int64_t kv_head = head / (args->heads / cache->kv_heads);
  int64_t base = source->slot * cache->slot_stride + kv_head * cache->capacity * cache->head_dim;
  int64_t end = (int64_t)source->position + 1;
  attention a = {
      .queries = plane_row(&args->queries, step, row) + head * cache->head_dim,
      .outputs = plane_row(&args->output, step, row) + head * cache->head_dim,
      .scores = scratch,
      .score_stride = scratch_floats / HEADS_TOGETHER,
      .keys = cache->keys + base,
      .values = cache->values + base,
      .capacity = cache->capacity,
      .head_dim = cache->head_dim,
      .first = end > cache->window ? end - cache->window : 0,
      .end = end,
      .scale = args->scale,
  };
  if (heads >= 4) {
    attend_4(&a);
    return 4;
  }
  if (heads >= 2) {
    attend_2(&a);
    return 2;
  }
  attend_1(&a);
  return 1;
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
