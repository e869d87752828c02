// The rows of a KV cache in each of its element types: how they are stored and read back.
//
//   f32, f16  [head_dim values]
//   q8_0      [head_dim / 32 blocks of scale f16, 32 int8], w = q · scale, as in a model file

static INLINE void keep_f16(const float *values, int64_t count, uint8_t *row) {
  for (int64_t i = 0; i < count; i += LANES) {
    int64_t left = count - i;
    u16x16 halves = narrow_f16(load_part(values + i, left));
    memcpy(row + 2 * i, &halves, 2 * (size_t)(left < LANES ? left : LANES));
  }
}

static INLINE void keep_q8_0(const float *values, int64_t count, uint8_t *row) {
  for (int64_t i = 0; i < count; i += COLUMNS_q8_0, row += BYTES_q8_0) {
    f32x16 low = load(values + i);
    f32x16 high = load(values + i + 16);
    block_scale scale = scale_of_block(low, high);
    uint16_t bits = half_bits(scale.scale);
    memcpy(row, &bits, sizeof bits);
    quantise_half(low, scale.inverse, (int8_t *)row + 2);
    quantise_half(high, scale.inverse, (int8_t *)row + 18);
  }
}

static INLINE void keep_row(cpu_cache_type type, const float *values, int64_t count,
                            uint8_t *row) {
  switch (type) {
    case CPU_CACHE_F32:
      memcpy(row, values, (size_t)count * sizeof(float));
      return;
    case CPU_CACHE_F16:
      keep_f16(values, count, row);
      return;
    case CPU_CACHE_Q8_0:
      keep_q8_0(values, count, row);
      return;
  }
}

// Returns values i ..< i + 16 of a row; those beyond `left` are 0.
static INLINE f32x16 kept_lanes(cpu_cache_type type, const uint8_t *row, int64_t i, int64_t left) {
  if (type == CPU_CACHE_F32) return load_part((const float *)row + i, left);
  if (type == CPU_CACHE_F16) return widen_f16(row, i, left);
  const uint8_t *block = row + i / COLUMNS_q8_0 * BYTES_q8_0;
  i8x16 quants;
  memcpy(&quants, block + 2 + i % 32, sizeof quants);
  return __builtin_convertvector(__builtin_convertvector(quants, i32x16), f32x16) *
         half_value(block);
}
