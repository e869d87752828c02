// Attention over a KV cache. The work is split over (row, head). The heads of a thread's rows that
// share keys and values read them together, and rows of the same slot read a block of them while it
// is in the cache.
//
// There are two passes: all scores of the visible positions, then the weighted sum of values. The
// sums of every row and head run in the order of its positions, so neither the wrap of the ring,
// nor blocks, nor what is read together changes a result.

#define DEFINE_PASSES(heads, name, type)                                                    \
  static void score_##heads##_##name(const attended *a, const attending *row, seen range) { \
    score_block(a, row, range, heads, type);                                                \
  }                                                                                         \
  static void weigh_##heads##_##name(const attended *a, const attending *row, seen range) { \
    weigh_block(a, row, range, heads, type);                                                \
  }
#define DEFINE_PASSES_OF_TYPE(name, type) \
  DEFINE_PASSES(1, name, type)            \
  DEFINE_PASSES(2, name, type)            \
  DEFINE_PASSES(4, name, type)            \
  DEFINE_PASSES(8, name, type)

DEFINE_PASSES_OF_TYPE(f32, CPU_CACHE_F32)
DEFINE_PASSES_OF_TYPE(f16, CPU_CACHE_F16)
DEFINE_PASSES_OF_TYPE(q8_0, CPU_CACHE_Q8_0)

// The passes for each cache type, for 1, 2, 4 and 8 heads.
#define PASSES(pass, name) \
  { pass##_1_##name, pass##_2_##name, pass##_4_##name, pass##_8_##name }
static attend_pass *const score_passes[3][4] = {
    [CPU_CACHE_F32] = PASSES(score, f32),
    [CPU_CACHE_F16] = PASSES(score, f16),
    [CPU_CACHE_Q8_0] = PASSES(score, q8_0),
};
static attend_pass *const weigh_passes[3][4] = {
    [CPU_CACHE_F32] = PASSES(weigh, f32),
    [CPU_CACHE_F16] = PASSES(weigh, f16),
    [CPU_CACHE_Q8_0] = PASSES(weigh, q8_0),
};

// Decodes a block of q8_0 to f32, so that several rows use it without doing so themselves. For f16,
// which one instruction decodes, this would be slower (SPEED.md, entry 19).
static seen decode(const attended *a, seen block) {
  const uint8_t *row = block.kept;
  float *out = a->decoded;
  for (int64_t p = block.first; p < block.end; p++) {
    for (int64_t i = 0; i < a->head_dim; i += LANES) {
      store(out + i, kept_lanes(CPU_CACHE_Q8_0, row, i, LANES));
    }
    row += block.row_bytes;
    out += a->head_dim;
  }
  return (seen){
      .first = block.first,
      .end = block.end,
      .kept = (const uint8_t *)a->decoded,
      .row_bytes = a->head_dim * (int64_t)sizeof(float),
  };
}

// Runs a pass over all blocks that rows see, with ascending positions.
static void for_blocks(const attended *a, const attending *rows, int64_t count,
                       const uint8_t *kept, int64_t ahead, cpu_cache_type type, int choice,
                       attend_pass *const passes[3][4]) {
  int64_t end = rows[count - 1].end;
  for (int64_t first = rows[0].first, next; first < end; first = next) {
    int64_t place = first % a->capacity;
    int64_t until_wrap = a->capacity - place;
    next = first + (a->block < until_wrap ? a->block : until_wrap);
    if (next > end) next = end;
    seen block = {first, next, kept + place * a->row_bytes, a->row_bytes, ahead};
    bool decodes = count > 1 && type == CPU_CACHE_Q8_0;
    if (decodes) block = decode(a, block);
    attend_pass *pass = passes[decodes ? CPU_CACHE_F32 : type][choice];
    for (const attending *row = rows; row < rows + count; row++) {
      seen range = block;
      if (range.first < row->first) range.first = row->first;
      if (range.end > row->end) range.end = row->end;
      range.kept += (range.first - first) * range.row_bytes;
      if (range.first < range.end) pass(a, row, range);
    }
  }
}

// Processes 1, 2, 4 or 8 heads (`choice` is the power of two) of rows of the same slot.
static void attend_rows(const attended *a, const attending *rows, int64_t count,
                        cpu_cache_type type, int choice) {
  int heads = 1 << choice;
  // The tile after the next, and the next block.
  int64_t tile_ahead = 2 * POSITIONS(heads) * a->row_bytes, block_ahead = a->block * a->row_bytes;
  for_blocks(a, rows, count, a->keys, tile_ahead, type, choice, score_passes);
  float totals[SLOT_ROWS_TOGETHER][HEADS_TOGETHER];
  for (int64_t i = 0; i < count; i++) {
    for (int h = 0; h < heads; h++) {
      float *scores = rows[i].scores + h * a->score_stride;
      totals[i][h] = exponentiate(scores, rows[i].end - rows[i].first);
    }
  }
  for_blocks(a, rows, count, a->values, block_ahead, type, choice, weigh_passes);
  for (int64_t i = 0; i < count; i++) {
    for (int h = 0; h < heads; h++) divide(a, rows[i].outputs + h * a->head_dim, totals[i][h]);
  }
}

// Processes up to HEADS_TOGETHER heads from `head` on, all of the same KV head, of `count` rows of
// the same slot from `first` on; returns how many heads.
static int64_t attend_some(const cpu_attend_args *args, const cpu_step *step, range rows,
                           int64_t head, int64_t heads, float *scratch) {
  const cpu_cache *cache = &args->cache;
  const cpu_row *sources = step->rows[args->queries.row_set];
  int64_t kv_head = head / (args->heads / cache->kv_heads);
  int64_t base = sources[rows.first].slot * cache->slot_bytes +
                 kv_head * cache->capacity * cache->row_bytes;
  attended a = {
      .keys = cache->keys + base,
      .values = cache->values + base,
      .row_bytes = cache->row_bytes,
      .capacity = cache->capacity,
      .head_dim = cache->head_dim,
      .block = attend_block(cache->head_dim),
      .decoded = scratch,
      .score_stride = attend_score_stride(cache->window),
      .scale = args->scale,
  };
  int choice = heads >= 8 ? 3 : heads >= 4 ? 2 : heads >= 2 ? 1 : 0;
  float *scores = scratch + a.block * a.head_dim;
  attending group[SLOT_ROWS_TOGETHER];
  for (int64_t row = rows.first; row < rows.end; row++) {
    int64_t end = (int64_t)sources[row].position + 1;
    group[row - rows.first] = (attending){
        .queries = plane_row(&args->queries, step, row) + head * cache->head_dim,
        .outputs = plane_row(&args->output, step, row) + head * cache->head_dim,
        .scores = scores + (row - rows.first) * HEADS_TOGETHER * a.score_stride,
        .first = end > cache->window ? end - cache->window : 0,
        .end = end,
    };
  }
  attend_rows(&a, group, rows.end - rows.first, cache->type, choice);
  return (int64_t)1 << choice;
}

// Returns the end of the rows from `row` on that are processed together: at most `most`, all of one
// slot. A slot's rows have ascending positions.
static int64_t end_of_group(const cpu_row *rows, int64_t row, int64_t most) {
  int64_t end = row + 1;
  while (end < row + most && rows[end].slot == rows[row].slot) end++;
  return end;
}

static void attend(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_attend_args *args = arguments;
  int64_t sharing = args->heads / args->cache.kv_heads;
  int64_t together = attend_rows_together(args->cache.window);
  float *scratch = (float *)(step->scratch + thread * step->scratch_bytes);
  range units = share(step->counts[args->queries.row_set] * args->heads, thread, threads);
  for (int64_t unit = units.first; unit < units.end;) {
    range rows = {unit / args->heads, unit / args->heads + 1};
    range heads = {unit % args->heads, args->heads};
    int64_t whole_rows = heads.first == 0 ? (units.end - unit) / args->heads : 0;
    if (whole_rows > 0) {
      int64_t most = whole_rows < together ? whole_rows : together;
      rows.end = end_of_group(step->rows[args->queries.row_set], rows.first, most);
    } else if (heads.end - heads.first > units.end - unit) {
      heads.end = heads.first + units.end - unit;
    }
    for (int64_t head = heads.first; head < heads.end;) {
      int64_t of_same_kv_head = sharing - head % sharing;
      int64_t left = heads.end - head;
      head += attend_some(args, step, rows, head,
                          left < of_same_kv_head ? left : of_same_kv_head, scratch);
    }
    unit += (rows.end - rows.first) * (heads.end - heads.first);
  }
}
