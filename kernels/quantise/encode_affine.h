// Types with minima: q4_1, q5_1; q2_K, q4_K, q5_K.

// Finds the quants of a run of values for its final step and offset, and returns the weighted
// squared errors.
static INLINE f64x16 affine_quants(const scaled_block *block, const float *values,
                                   const float *importance, int first, int count, float step,
                                   float offset, float high, uint8_t *quants) {
  f64x16 sum = {0};
  float inverse = reciprocal_of(step);
  for (int i = first; i < first + count; i += LANES) {
    f32x16 level = clamp(rounded((load(block->x + i) + offset) * inverse), 0, high);
    u8x16 bytes = __builtin_convertvector(level, u8x16);
    memcpy(quants + i, &bytes, sizeof bytes);
    f32x16 decoded = level * (step * block->up) - offset * block->up;
    sum += weighted_errors(values + i, importance ? importance + i : NULL, decoded);
  }
  return sum;
}

// --- Blocks of 32 with an f16 scale and minimum -----------------------------------------------

static INLINE double encode_affine_blocks(const float *values, int64_t columns,
                                          const float *importance, float high, effort effort,
                                          uint8_t *output) {
  if (!row_is_valid(values, columns, importance)) return NAN;
  f64x16 sum = {0};
  for (int64_t i = 0; i < columns; i += 32) {
    const float *weights = importance ? importance + i : NULL;
    scaled_block block;
    uint8_t quants[32];
    scale_block(values + i, weights, 32, &block);
    affine_fit fit = search_affine(block.x, block.w, 32, high, false, effort);
    store_affine(&block, 32, high, &fit);
    sum += affine_quants(&block, values + i, weights, 0, 32, fit.scale, fit.offset, high, quants);
    put_half(output, fit.scale * block.up);
    put_half(output + 2, -fit.offset * block.up);
    output += 4;
    if (high > 15) {
      put_high_bits(quants, output);
      output += 4;
    }
    put_nibbles(quants, output);
    output += 16;
  }
  return sum_doubles(sum);
}

static double encode_q4_1(const float *values, int64_t columns, const float *importance,
                          uint8_t *output) {
  return encode_affine_blocks(values, columns, importance, 15,
                              EFFORT(4, 2, 0, -0.75f, 2.5f, 1e-6f), output);
}

static double encode_q5_1(const float *values, int64_t columns, const float *importance,
                          uint8_t *output) {
  return encode_affine_blocks(values, columns, importance, 31,
                              EFFORT(4, 2, 0, -0.9f, 4, 1e-6f), output);
}

// --- Super-blocks of 256 ----------------------------------------------------------------------

static INLINE void store_q2_K(const uint8_t *quants, const affine_choice *choice, float scale,
                              float minimum, uint8_t *p) {
  for (int j = 0; j < 16; j++) {
    p[j] = (uint8_t)((int)choice->codes[j] | (int)choice->minimum_codes[j] << 4);
  }
  put_pairs(quants, 0, p + 16);
  put_half(p + 80, scale);
  put_half(p + 82, minimum);
}

static INLINE void store_q4_K(const uint8_t *quants, const affine_choice *choice, float scale,
                              float minimum, uint8_t *p) {
  put_half(p, scale);
  put_half(p + 2, minimum);
  put_six_bit_pairs(choice->codes, choice->minimum_codes, p + 4);
  put_wide_nibbles(quants, p + 16);
}

static INLINE void store_q5_K(const uint8_t *quants, const affine_choice *choice, float scale,
                              float minimum, uint8_t *p) {
  put_half(p, scale);
  put_half(p + 2, minimum);
  put_six_bit_pairs(choice->codes, choice->minimum_codes, p + 4);
  put_bit_planes(quants, 4, p + 16);
  put_wide_nibbles(quants, p + 48);
}

#define AFFINE_SUPER_BLOCKS(name, length, high, high_code, effort, bytes)                    \
  static double encode_##name(const float *values, int64_t columns, const float *importance, \
                              uint8_t *output) {                                             \
    const affine_format format = {256 / length, length, high, high_code, effort};            \
    if (!row_is_valid(values, columns, importance)) return NAN;                              \
    f64x16 sum = {0};                                                                        \
    for (int64_t i = 0; i < columns; i += 256, output += bytes) {                            \
      const float *weights = importance ? importance + i : NULL;                             \
      scaled_block block;                                                                    \
      uint8_t quants[256];                                                                   \
      scale_block(values + i, weights, 256, &block);                                         \
      affine_choice choice = search_affine_codes(&block, format);                            \
      for (int sub = 0; sub < format.sub_blocks; sub++) {                                    \
        sum += affine_quants(&block, values + i, weights, sub * length, length,              \
                             choice.scale * choice.codes[sub],                               \
                             choice.minimum * choice.minimum_codes[sub], high, quants);      \
      }                                                                                      \
      store_##name(quants, &choice, choice.scale * block.up, choice.minimum * block.up,      \
                   output);                                                                  \
    }                                                                                        \
    return sum_doubles(sum);                                                                 \
  }

AFFINE_SUPER_BLOCKS(q2_K, 16, 3, 15, EFFORT(4, 2, 2, -0.75f, 1.5f, 1e-6f), 84)
AFFINE_SUPER_BLOCKS(q4_K, 32, 15, 63, EFFORT(4, 2, 2, -0.75f, 2.5f, 1e-6f), 144)
AFFINE_SUPER_BLOCKS(q5_K, 32, 31, 63, EFFORT(4, 2, 2, -0.9f, 4, 1e-6f), 176)
