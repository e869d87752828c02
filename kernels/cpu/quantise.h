// Quantises activations to int8, in blocks of 32 with scale = max|x| / 127, rounded half to even.
//
//   row of f32   [x0 ... x31][x32 ... x63] ...
//   quants       [32 int8   ][32 int8    ] ...
//   scales, sums [f32       ][f32        ] ...   sum = scale · Σ quants, for weights with a minimum
//   eights       [i32       ][i32        ] ...   -8 · Σ quants, for weights with an offset
//   halves       [i32][i32  ][i32][i32   ] ...   -32 · Σ of 16 quants, for q6_K with its two scales
//
// This is the layout of a row left over. In a group of eight rows, the block of one row is followed
// by the same block of the seven others.

// Returns the bits of the largest magnitude. The bits of a NaN are greater than those of every
// number, so it reaches the scale and is not lost.
static INLINE uint32_t largest_magnitude(f32x16 a, f32x16 b) {
  i32x16 x = (i32x16)a & 0x7FFFFFFF;
  i32x16 y = (i32x16)b & 0x7FFFFFFF;
  return (uint32_t)__builtin_reduce_max(__builtin_elementwise_max(x, y));
}

typedef struct {
  float scale, inverse;
} block_scale;

// For a scale below 1e-30 the inverse would overflow, so such a block becomes zero.
static INLINE block_scale scale_of_block(f32x16 low, f32x16 high) {
  uint32_t bits = largest_magnitude(low, high);
  float largest;
  memcpy(&largest, &bits, sizeof largest);
  if (largest < 1e-30f) return (block_scale){0, 0};
  return (block_scale){largest / 127.0f, 127.0f / largest};
}

static INLINE int32_t quantise_half(f32x16 x, float inverse, int8_t *quants) {
  i32x16 q = (i32x16)(x * inverse + ROUNDING) - 0x4B400000;
  i8x16 bytes = __builtin_convertvector(q, i8x16);
  memcpy(quants, &bytes, sizeof bytes);
  return __builtin_reduce_add(__builtin_convertvector(bytes, i32x16));
}

enum { ROW_GROUP = 8 };

// The place of a row's blocks: its block b is block `first` + b · `step` of all blocks.
typedef struct {
  int64_t first, step;
} row_blocks;

static INLINE row_blocks blocks_of_row(int64_t width, int64_t row, int64_t rows) {
  int64_t blocks = width / 32;
  if (row < rows / ROW_GROUP * ROW_GROUP) {
    return (row_blocks){row / ROW_GROUP * ROW_GROUP * blocks + row % ROW_GROUP, ROW_GROUP};
  }
  return (row_blocks){row * blocks, 1};
}

// Quantises some of a row's blocks.
static INLINE void quantise_blocks(const float *x, const cpu_quantised *out, row_blocks place,
                                   range blocks) {
  for (int64_t block = blocks.first; block < blocks.end; block++) {
    int64_t to = place.first + block * place.step;
    f32x16 low = load(x + block * 32);
    f32x16 high = load(x + block * 32 + 16);
    block_scale scale = scale_of_block(low, high);
    int32_t first = quantise_half(low, scale.inverse, out->quants + to * 32);
    int32_t second = quantise_half(high, scale.inverse, out->quants + to * 32 + 16);
    out->scales[to] = scale.scale;
    out->sums[to] = scale.scale * (float)(first + second);
    out->eights[to] = -8 * (first + second);
    out->halves[2 * to] = -32 * first;
    out->halves[2 * to + 1] = -32 * second;
  }
}

static void quantise(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_quantise_args *args = arguments;
  int64_t count = step->counts[args->input.row_set];
  int64_t blocks = args->output.width / 32 / args->parts;
  range units = share(count * args->parts, thread, threads);
  for (int64_t unit = units.first; unit < units.end; unit++) {
    int64_t row = unit / args->parts;
    int64_t first = unit % args->parts * blocks;
    quantise_blocks(plane_row(&args->input, step, row), &args->output,
                    blocks_of_row(args->output.width, row, count),
                    (range){first, first + blocks});
  }
}

static void quantise_columns(const void *arguments, const cpu_step *step, int thread,
                             int threads) {
  const cpu_quantise_args *args = arguments;
  int64_t count = step->counts[args->input.row_set];
  range own = share_columns(args->output.width, thread, threads);
  for (int64_t row = 0; row < count; row++) {
    quantise_blocks(plane_row(&args->input, step, row), &args->output,
                    blocks_of_row(args->output.width, row, count),
                    (range){own.first / 32, own.end / 32});
  }
}
