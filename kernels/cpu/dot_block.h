// The innermost product: a block of 32 columns of some rows of quantised weights, in registers, with
// some rows of int8 activations.
//
// The arithmetic is the same for every tile and order of loops:
//   for each block of 32 columns, ascending:
//     total = Σ (w - offset) · x                           exact, int32
//     sum = sum + (scale · x_scale) · f32(total)
//     sum = sum + minimum · x_sum                          types with a minimum
// Types with two scales in a block (q6_K, q3_K) use total = s₀ · total₀ + s₁ · total₁, which is
// exact, too. The type that also has two minima (q2_K) uses
//     sum = sum - (minimum · x_scale) · f32(m₀ · Σ x₀ + m₁ · Σ x₁)

typedef struct {
  int bits;         // of a stored weight; bounds the products
  int offset;       // subtracted from each stored weight: divides 32 with halves, else a multiple of 8
  bool has_minimum;
  bool has_halves;  // two integer scales in a block; also two minima if it has a minimum
  block_layout layout;
} weight_format;

// 32 columns of TILE rows.
typedef struct {
  tile_u32 weights[8];  // [j] columns 4j ..< 4j + 4 of each row
  tile_f32 scale;  // with two minima: the bits of the f16 scale low, of the f16 minimum high
  union {
    tile_f32 minimum;
    tile_i32 half_scales[2];  // with two minima: s low, m above four bits
  };
} tile_block;

_Static_assert(sizeof(tile_block) == DECODED_VECTORS * TILE * 4, "cpu_matmul_scratch");
_Static_assert(TILE_ROWS % TILE == 0, "a tile has whole lanes");

// Decodes columns 32 · index ..< 32 · index + 32 of a packed block for lanes `lane` ..< `lane` + TILE.
typedef void (*unpacker)(const uint8_t *packed, int lane, int index, tile_block *block);

// How many rows of activations are multiplied together; their sums are in registers.
#if CPU_THIS_ISA == CPU_ISA_AVX512VNNI
enum { ROWS_TOGETHER = ROW_GROUP };
#else
enum { ROWS_TOGETHER = ROW_GROUP / 2 };
#endif
_Static_assert(ROW_GROUP % ROWS_TOGETHER == 0, "rows that are multiplied together are of one group");

static INLINE tile_i32 splat_i32(int32_t x) { return (tile_i32){0} + x; }

// Some rows of activations: block b of the m-th row is block first + b · step + m · apart of `all`.
typedef struct {
  const cpu_quantised *all;
  int64_t first, step, apart;
} activation_rows;

// Returns the rows from `row` on. All of them must be in one group, or all among the rows left
// over.
static INLINE activation_rows activations_from(const cpu_quantised *x, int64_t row, int64_t rows) {
  row_blocks place = blocks_of_row(x->width, row, rows);
  return (activation_rows){x, place.first, place.step, place.step == 1 ? x->width / 32 : 1};
}

// totals[m] += weights[0 ..< steps] · x of row m, whose quants lie `apart` bytes from each other.
static INLINE void dot_rows(const tile_u32 *weights, int steps, const int8_t *x, int64_t apart,
                            int bits, int rows, tile_i32 *totals) {
#pragma clang loop unroll(full)
  for (int first = 0; first < steps; first += DOT_STEPS(bits)) {
    tile_i32 sums[ROWS_TOGETHER];
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) sums[m] = DOT_BEGIN(totals[m]);
#pragma clang loop unroll(full)
    for (int j = first; j < first + DOT_STEPS(bits); j++) {
#pragma clang loop unroll(full)
      for (int m = 0; m < rows; m++) {
        sums[m] = dot_step(sums[m], weights[j], x + m * apart + 4 * j, bits);
      }
    }
#pragma clang loop unroll(full)
    for (int m = 0; m < rows; m++) totals[m] = dot_end(totals[m], sums[m], bits);
  }
}

// Adds a block with two scales and two minima to a sum. `halves` are -32 · Σ x of each half;
// multiplied by their minima they are at most 15 · 32 · 16 · 127, which is exact in f32.
static INLINE tile_f32 add_with_minima(const tile_block *block, tile_i32 first, tile_i32 second,
                                       const int32_t *halves, float x_scale, tile_f32 sum) {
  tile_i32 low = block->half_scales[0], high = block->half_scales[1];
  tile_i32 total = first * (low & 15) + second * (high & 15);
  tile_i32 minima = (low >> 4) * halves[0] + (high >> 4) * halves[1];
  tile_f32 scale = halves_to_floats((tile_u32)block->scale);
  tile_f32 minimum = halves_to_floats((tile_u32)block->scale >> 16) * 0.03125f;
  sum = sum + (scale * x_scale) * __builtin_convertvector(total, tile_f32);
  return sum + (minimum * x_scale) * __builtin_convertvector(minima, tile_f32);
}

static INLINE void dot_block(const tile_block *block, weight_format format,
                             const activation_rows *x, int64_t index, int rows, tile_f32 *sums) {
  int64_t first = x->first + index * x->step;
  const int8_t *quants = x->all->quants + first * 32;
  const float *scales = x->all->scales + first;
  const float *x_sums = x->all->sums + first;
  const int32_t *eights = x->all->eights + first;
  const int32_t *halves = x->all->halves + 2 * first;
  tile_i32 totals[ROWS_TOGETHER];
  tile_i32 seconds[ROWS_TOGETHER];
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) {
    // Σ (w - offset) · x = Σ w · x - offset · Σ x
    seconds[m] = (tile_i32){0};
    if (format.has_halves && format.offset != 0) {
      // The dividend is a multiple of 32, so the division is exact.
      totals[m] = splat_i32(halves[2 * m * x->apart] / (32 / format.offset));
      seconds[m] = splat_i32(halves[2 * m * x->apart + 1] / (32 / format.offset));
    } else if (format.offset != 0) {
      totals[m] = splat_i32(eights[m * x->apart]) * (format.offset / 8);
    } else {
      totals[m] = (tile_i32){0};
    }
  }
  dot_rows(block->weights, 4, quants, 32 * x->apart, format.bits, rows, totals);
  dot_rows(block->weights + 4, 4, quants + 16, 32 * x->apart, format.bits, rows,
           format.has_halves ? seconds : totals);
#pragma clang loop unroll(full)
  for (int m = 0; m < rows; m++) {
    if (format.has_halves && format.has_minimum) {
      sums[m] = add_with_minima(block, totals[m], seconds[m], halves + 2 * m * x->apart,
                                scales[m * x->apart], sums[m]);
      continue;
    }
    tile_i32 total = totals[m];
    if (format.has_halves) {
      total = total * block->half_scales[0] + seconds[m] * block->half_scales[1];
    }
    sums[m] = sums[m] + (block->scale * scales[m * x->apart]) *
                            __builtin_convertvector(total, tile_f32);
    if (format.has_minimum) sums[m] = sums[m] + block->minimum * x_sums[m * x->apart];
  }
}
