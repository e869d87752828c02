// Writes a step's keys and values into the KV cache, each row at its position in its slot.

static void append(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_append_args *args = arguments;
  const cpu_cache *cache = &args->cache;
  range units = share(step->counts[CPU_ROWS_ALL] * cache->kv_heads, thread, threads);
  for (int64_t unit = units.first; unit < units.end; unit++) {
    int64_t row = unit / cache->kv_heads;
    int64_t head = unit % cache->kv_heads;
    const cpu_row *source = &step->rows[CPU_ROWS_ALL][row];
    int64_t place =
        source->slot * cache->slot_bytes +
        (head * cache->capacity + source->position % cache->capacity) * cache->row_bytes;
    int64_t column = head * cache->head_dim;
    keep_row(cache->type, plane_row(&args->keys, step, row) + column, cache->head_dim,
             cache->keys + place);
    keep_row(cache->type, plane_row(&args->values, step, row) + column, cache->head_dim,
             cache->values + place);
  }
}
