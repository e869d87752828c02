// Types without minima whose sub-blocks share an f16 scale: w = scale · code · level, with a signed
// integer code for each sub-block. Each lane is a candidate.

typedef struct {
  int sub_blocks, length;
  levels set;
  float low_code, high_code;
  effort effort;
} scale_format;

enum { MOST_SUB_BLOCKS = 16 };

typedef struct {
  float scale;  // storable
  float codes[MOST_SUB_BLOCKS];
  float error;
} scale_choice;

// Returns the errors of super-block scales, each with the best of the codes next to the wanted
// scales of the sub-blocks.
static INLINE f32x16 shared_scale_errors(const scaled_block *block, scale_format format,
                                         const float *wanted, f32x16 scale) {
  f32x16 inverse = reciprocal(scale);
  f32x16 sum = splat(0);
  for (int sub = 0; sub < format.sub_blocks; sub++) {
    const float *x = block->x + sub * format.length, *w = block->w + sub * format.length;
    f32x16 center = rounded(clamp(wanted[sub] * inverse, format.low_code, format.high_code));
    f32x16 least = splat(INFINITY);
    for (int step = -1; step <= 1; step++) {
      f32x16 code = larger(center + (float)step, splat(format.low_code));
      // One beyond the highest code is the lowest, with the sign turned.
      code = blend(code > format.high_code, -code, code);
      f32x16 error = scale_errors(x, w, format.length, scale * code, format.set);
      least = smaller(error, least);
    }
    sum += least;
  }
  return sum;
}

// Chooses the codes for the scale in `choice` near the wanted scales, and sets the error.
static INLINE void choose_codes(const scaled_block *block, scale_format format,
                                const float *wanted, scale_choice *choice) {
  float inverse = reciprocal_of(choice->scale);
  // The last candidates turn the sign.
  const f32x16 sign = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1};
  const f32x16 steps = {0, -1, 1, -2, 2, -3, 3, -4, 4, -5, 5, 6, 0, -1, 1, 2};
  choice->error = 0;
  for (int sub = 0; sub < format.sub_blocks; sub++) {
    const float *x = block->x + sub * format.length, *w = block->w + sub * format.length;
    f32x16 code = rounded(clamp(splat(wanted[sub] * inverse), format.low_code, format.high_code));
    code = clamp(code * sign + steps, format.low_code, format.high_code);
    f32x16 errors = scale_errors(x, w, format.length, choice->scale * code, format.set);
    int lane = smallest_lane(errors);
    choice->codes[sub] = lane_of(code, lane);
    choice->error += lane_of(errors, lane);
  }
}

// Moves the scale in `choice` to the best storable one near that of least squares for the levels
// that it and the codes give.
static INLINE void refit_scale(const scaled_block *block, scale_format format,
                               scale_choice *choice) {
  f32x16 xl = splat(0), ll = splat(0);
  for (int sub = 0; sub < format.sub_blocks; sub++) {
    float step = choice->scale * choice->codes[sub], inverse = reciprocal_of(step);
    for (int i = sub * format.length; i < (sub + 1) * format.length; i += LANES) {
      f32x16 x = load(block->x + i);
      f32x16 level = nearest_level(x * inverse, format.set) * choice->codes[sub];
      f32x16 weighted = load(block->w + i) * level;
      xl += weighted * x;
      ll += weighted * level;
    }
  }
  float fitted = sum_lanes(xl) * reciprocal_of(sum_lanes(ll));
  f32x16 scales = storable_near(block, fitted);
  f32x16 errors = splat(0);
  for (int sub = 0; sub < format.sub_blocks; sub++) {
    const float *x = block->x + sub * format.length, *w = block->w + sub * format.length;
    errors += scale_errors(x, w, format.length, scales * choice->codes[sub], format.set);
  }
  choice->scale = lane_of(scales, smallest_lane(errors));
}

// Returns the best scale and codes found for a super-block.
static INLINE scale_choice search_scale_codes(const scaled_block *block, scale_format format) {
  float wanted[MOST_SUB_BLOCKS], most = 0;
  for (int sub = 0; sub < format.sub_blocks; sub++) {
    const float *x = block->x + sub * format.length, *w = block->w + sub * format.length;
    wanted[sub] = search_scale(x, w, format.length, format.set, format.effort);
    if (fabsf(wanted[sub]) > fabsf(most)) most = wanted[sub];
  }
  // The candidates give the largest scale the lowest code, a smaller one, or one that is cut off.
  // One turns all signs, as the largest scale may have a twin of the other sign.
  const f32x16 stretch = {1,    1.03f, .98f,  .96f, .94f, .92f, .9f,  .88f,
                          .85f, .82f,  .77f, -1,   1.2f, 1.5f, 2,    3};
  f32x16 largest_code = format.low_code * stretch;
  f32x16 scales = storable(block, most * reciprocal(largest_code));
  f32x16 errors = shared_scale_errors(block, format, wanted, scales);
  scale_choice best = {.scale = lane_of(scales, smallest_lane(errors))};
  choose_codes(block, format, wanted, &best);
  for (int round = 0; round < format.effort.rounds; round++) {
    scale_choice next = best;
    refit_scale(block, format, &next);
    for (int sub = 0; sub < format.sub_blocks; sub++) {
      wanted[sub] = best.scale * best.codes[sub];
    }
    choose_codes(block, format, wanted, &next);
    if (!(next.error < best.error)) break;
    best = next;
  }
  return best;
}
