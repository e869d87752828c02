// Types without minima: q4_0, q5_0, q8_0, iq4_nl; q3_K, q6_K, iq4_xs.

// Finds the quants of a run of values for its final step, and returns the weighted squared errors.
// A quant is its level less the lowest one, or its index in the table.
static INLINE f64x16 scale_quants(const scaled_block *block, const float *values,
                                  const float *importance, int first, int count, float step,
                                  levels set, uint8_t *quants) {
  f64x16 sum = {0};
  float inverse = reciprocal_of(step);
  for (int i = first; i < first + count; i += LANES) {
    f32x16 ratio = load(block->x + i) * inverse;
    f32x16 level = nearest_level(ratio, set);
    i32x16 quant = set.is_table ? nearest_entry(ratio)
                                : __builtin_convertvector(level - set.low, i32x16);
    u8x16 bytes = __builtin_convertvector(quant, u8x16);
    memcpy(quants + i, &bytes, sizeof bytes);
    sum += weighted_errors(values + i, importance ? importance + i : NULL,
                           step * block->up * level);
  }
  return sum;
}

// --- Blocks of 32 with an f16 scale -----------------------------------------------------------

typedef struct {
  levels set;
  effort effort;
  int bytes;
} scale_block_format;

static INLINE void store_scale_block(const uint8_t *quants, float scale,
                                     scale_block_format format, uint8_t *p) {
  put_half(p, scale);
  if (format.set.high == 127) {
    for (int i = 0; i < 32; i++) p[2 + i] = quants[i] ^ 128;
  } else if (format.set.high == 15) {
    put_high_bits(quants, p + 2);
    put_nibbles(quants, p + 6);
  } else {
    put_nibbles(quants, p + 2);
  }
}

static INLINE double encode_scale_blocks(const float *values, int64_t columns,
                                         const float *importance, scale_block_format format,
                                         uint8_t *output) {
  if (!row_is_valid(values, columns, importance)) return NAN;
  f64x16 sum = {0};
  for (int64_t i = 0; i < columns; i += 32, output += format.bytes) {
    const float *weights = importance ? importance + i : NULL;
    scaled_block block;
    uint8_t quants[32];
    scale_block(values + i, weights, 32, &block);
    float scale = search_scale(block.x, block.w, 32, format.set, format.effort);
    scale = best_stored_scale(&block, 32, scale, format.set);
    sum += scale_quants(&block, values + i, weights, 0, 32, scale, format.set, quants);
    store_scale_block(quants, scale * block.up, format, output);
  }
  return sum_doubles(sum);
}

#define SCALE_BLOCKS(name, set, effort, bytes)                                               \
  static double encode_##name(const float *values, int64_t columns, const float *importance, \
                              uint8_t *output) {                                             \
    return encode_scale_blocks(values, columns, importance,                                  \
                               (scale_block_format){set, effort, bytes}, output);            \
  }

SCALE_BLOCKS(q4_0, INTEGERS(-8, 7), EFFORT(4, 1, 0, 4, 0.025f, 1e-6f), 18)
SCALE_BLOCKS(q5_0, INTEGERS(-16, 15), EFFORT(4, 1, 0, 4, 0.025f, 1e-6f), 22)
SCALE_BLOCKS(q8_0, INTEGERS(-128, 127), EFFORT(1, 0, 0, 2, 0.01f, 0), 34)
SCALE_BLOCKS(iq4_nl, IQ4_LEVELS, EFFORT(5, 2, 0, 4, 0.025f, 1e-6f), 18)

// --- Super-blocks of 256 ----------------------------------------------------------------------

static INLINE void store_q3_K(const uint8_t *quants, const scale_choice *choice, float scale,
                              uint8_t *p) {
  put_bit_planes(quants, 2, p);
  put_pairs(quants, 0, p + 32);
  put_six_bit_scales(choice->codes, p + 96);
  put_half(p + 108, scale);
}

static INLINE void store_q6_K(const uint8_t *quants, const scale_choice *choice, float scale,
                              uint8_t *p) {
  for (int half = 0; half < 2; half++) {
    const uint8_t *q = quants + 128 * half;
    for (int i = 0; i < 64; i++) p[64 * half + i] = (uint8_t)((q[i] & 15) | q[i + 64] << 4);
  }
  put_pairs(quants, 4, p + 128);
  for (int j = 0; j < 16; j++) p[192 + j] = (uint8_t)(int)choice->codes[j];
  put_half(p + 208, scale);
}

static INLINE void store_iq4_xs(const uint8_t *quants, const scale_choice *choice, float scale,
                                uint8_t *p) {
  uint32_t high = 0;
  put_half(p, scale);
  for (int j = 0; j < 8; j += 2) {
    int a = (int)choice->codes[j] + 32, b = (int)choice->codes[j + 1] + 32;
    p[4 + j / 2] = (uint8_t)((a & 15) | (b & 15) << 4);
    high |= (uint32_t)(a >> 4 | b >> 4 << 2) << (2 * j);
  }
  p[2] = (uint8_t)high;
  p[3] = (uint8_t)(high >> 8);
  for (int j = 0; j < 8; j++) put_nibbles(quants + 32 * j, p + 8 + 16 * j);
}

#define SCALE_SUPER_BLOCKS(name, level_set, length, low_code, high_code, effort, bytes)         \
  static double encode_##name(const float *values, int64_t columns, const float *importance,    \
                              uint8_t *output) {                                                \
    const scale_format format = {256 / length, length, level_set, low_code, high_code, effort}; \
    if (!row_is_valid(values, columns, importance)) return NAN;                                 \
    f64x16 sum = {0};                                                                           \
    for (int64_t i = 0; i < columns; i += 256, output += bytes) {                               \
      const float *weights = importance ? importance + i : NULL;                                \
      scaled_block block;                                                                       \
      uint8_t quants[256];                                                                      \
      scale_block(values + i, weights, 256, &block);                                            \
      scale_choice choice = search_scale_codes(&block, format);                                 \
      for (int sub = 0; sub < format.sub_blocks; sub++) {                                       \
        sum += scale_quants(&block, values + i, weights, sub * length, length,                  \
                            choice.scale * choice.codes[sub], format.set, quants);              \
      }                                                                                         \
      store_##name(quants, &choice, choice.scale * block.up, output);                           \
    }                                                                                           \
    return sum_doubles(sum);                                                                    \
  }

SCALE_SUPER_BLOCKS(q3_K, INTEGERS(-4, 3), 16, -32, 31, EFFORT(3, 1, 1, 3, 0.04f, 2e-6f), 110)
SCALE_SUPER_BLOCKS(q6_K, INTEGERS(-32, 31), 16, -128, 127, EFFORT(2, 1, 1, 5, 0.015f, 2e-6f), 210)
SCALE_SUPER_BLOCKS(iq4_xs, IQ4_LEVELS, 32, -32, 31, EFFORT(5, 2, 2, 4, 0.025f, 2e-6f), 136)
