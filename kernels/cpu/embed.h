// Lookups by token: the embedding, and the per-layer inputs.

// The bytes of the first `count` values of a type's row.
static INLINE int64_t row_offset(cpu_type type, int64_t count) {
  switch (type) {
    case CPU_F32: return count * 4;
    case CPU_F16:
    case CPU_BF16: return count * 2;
    case CPU_Q4_0: return count / 32 * 18;
    case CPU_Q4_1: return count / 32 * 20;
    case CPU_Q5_0: return count / 32 * 22;
    case CPU_Q5_1: return count / 32 * 24;
    case CPU_Q8_0: return count / 32 * 34;
    case CPU_Q2_K: return count / 256 * 84;
    case CPU_Q3_K: return count / 256 * 110;
    case CPU_Q4_K: return count / 256 * 144;
    case CPU_Q5_K: return count / 256 * 176;
    case CPU_Q6_K: return count / 256 * 210;
    case CPU_IQ4_NL: return count / 32 * 18;
    case CPU_IQ4_XS: return count / 256 * 136;
    case CPU_TYPE_COUNT: break;
  }
  return 0;
}

static INLINE void look_up(const cpu_matrix *table, int64_t token, int64_t first, int64_t count,
                           float *values) {
  const uint8_t *row = table->bytes + token * table->row_bytes;
  dequantise(table->type, row + row_offset(table->type, first), count, values);
}

static void embed(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_embed_args *args = arguments;
  int64_t width = args->output.width;
  range rows = share(step->counts[args->output.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) {
    float *output = plane_row(&args->output, step, row);
    look_up(&args->table, step->rows[args->output.row_set][row].token, args->first, width, output);
    scale_row(output, args->scale, NULL, width, output);
  }
}

static INLINE void per_layer_row(const cpu_per_layer_args *args, const cpu_step *step,
                                 int64_t row) {
  int64_t width = args->width;
  int64_t token = step->rows[args->output.row_set][row].token;
  if (token >= args->table.rows) token = 0;
  float *projected = plane_row(&args->projected, step, row);
  float *output = plane_row(&args->output, step, row);
  look_up(&args->table, token, args->first_column, args->output.width, output);
  for (int64_t first = 0; first < args->output.width; first += width) {
    float *context = projected + first;
    scale_row(context, args->projection_scale, NULL, width, context);
    norm_row(context, &args->norm, width, context);
    for (int64_t i = 0; i < width; i += LANES) {
      int64_t left = width - i;
      f32x16 v = load_part(output + first + i, left) * args->table_scale;
      v = (load_part(context + i, left) + v) * args->output_scale;
      store_part(output + first + i, v, left);
    }
  }
}

static void per_layer(const void *arguments, const cpu_step *step, int thread, int threads) {
  const cpu_per_layer_args *args = arguments;
  range rows = share(step->counts[args->output.row_set], thread, threads);
  for (int64_t row = rows.first; row < rows.end; row++) per_layer_row(args, step, row);
}
