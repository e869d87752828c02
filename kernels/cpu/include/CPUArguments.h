// The arguments of kernels, one struct for each. The comment of a struct says what its kernel
// computes.
#ifndef CPU_ARGUMENTS_H
#define CPU_ARGUMENTS_H

#include "CPUOperands.h"

// output = table[token][first ..< first + output.width] · scale.
typedef struct {
  cpu_matrix table;
  int64_t first;
  float scale;
  cpu_plane output;
} cpu_embed_args;

// output = input as int8. A row is split into `parts` of whole blocks, for example its heads;
// quantise_columns ignores them.
typedef struct {
  cpu_plane input;
  int64_t parts;
  cpu_quantised output;
} cpu_quantise_args;

// packed = source, packed for products: cpu_packed_rows rows of cpu_packed_row_bytes. Packed by
// columns, for q4_0 only: cpu_column_rows rows of source.row_bytes, in memory that must be zero.
typedef struct {
  cpu_matrix source;
  uint8_t *packed;  // 64-byte aligned
} cpu_pack_args;

// output = weight · input; then cap · tanh(output / cap) unless the cap is 0.
// The weight is packed. Float weights read `input`, quantised ones `quantised`.
typedef struct {
  cpu_matrix weight;
  cpu_plane input;
  cpu_quantised quantised;
  cpu_plane output;
  float softcap;
} cpu_matmul_args;

// gate = gelu(relu(gate - (mean + deviations · std))); selected = its columns that are not zero.
typedef struct {
  cpu_plane gate;
  float deviations;
  cpu_selected selected;
} cpu_select_args;

// gate[i] = gate[i] · (weight · quantised)[i] for the selected i; the others are zero and stay
// zero.
typedef struct {
  cpu_matrix weight;  // as stored
  cpu_quantised quantised;
  cpu_selected selected;
  cpu_plane gate;
} cpu_scale_selected_args;

// output = weight · quantised, of which only the selected columns are not zero.
typedef struct {
  const uint8_t *columns;  // packed by columns
  int64_t rows;            // of the weight
  cpu_quantised quantised;
  cpu_selected selected;
  cpu_plane output;
} cpu_columns_args;

// output = input, rotated (hadamard.h), as int8 with one scale for each row. What is beyond the
// input's width is not written. The scratch of a thread has room for a row.
typedef struct {
  cpu_plane input;
  cpu_row_quants output;
} cpu_quantise_rows_args;

// packed = source, its rows rotated (hadamard.h), as int8 with one scale for each of them; they are
// the columns of the product. checks[k] = Σ packed[k] over the columns, wrapping.
typedef struct {
  cpu_matrix source;  // as stored; its columns are the product's depth
  int8_t *packed;     // as in cpu_array_weight, all of it
  int64_t passes;
  int64_t side;
  int64_t part_count;
  const int64_t *part_steps;  // [part_count]
  float *scales;              // [source.rows]
  int32_t *checks;            // [source.columns], must be zero before
} cpu_pack_array_args;

// sums = input · weight: exact sums for each part of the depth, which wrap. The columns are filled
// up to a multiple of 8. The input's pitch has room for all steps of the weight.
typedef struct {
  cpu_array_weight weight;
  cpu_row_quants input;
  int32_t *sums;       // [part_count, rows, columns]
  int64_t sums_pitch;  // numbers from row to row
  int64_t sums_part;   // numbers from part to part
  int32_t row_set;
} cpu_multiply_array_args;

// output = f32(Σ sums over the parts) · (input scale · column scale), the integers wrapping; then
// cap · tanh(output / cap) unless the cap is 0. If the sums of a row, those of columns up to a
// multiple of 8 included, do not add up to Σ quants · checks, wrong = the number of such a row + 1.
typedef struct {
  const int32_t *sums;  // as multiply_array writes them
  int64_t sums_pitch;
  int64_t sums_part;
  int64_t part_count;
  cpu_row_quants input;
  const float *scales;    // [output.width]
  const int32_t *checks;  // [depth]
  int64_t depth;
  cpu_plane output;
  float softcap;
  int32_t *wrong;
} cpu_scale_sums_args;

// sums[i] = Σ input[row][i]² over the rows.
typedef struct {
  cpu_plane input;
  float *sums;  // [input.width]
} cpu_observe_args;

// output = rms(input).
typedef struct {
  cpu_plane input;
  cpu_norm norm;
  cpu_plane output;
} cpu_norm_args;

// output = cos and sin of position · scale · frequencies[i], for each row.
typedef struct {
  const double *frequencies;  // [half]
  int64_t half;
  double scale;
  cpu_rotations output;
  int32_t row_set;
} cpu_rope_args;

// heads = source, for each head: rms, then the rotation of pairs (i, i + head_dim / 2). The two planes may
// be the same.
typedef struct {
  cpu_plane source;
  cpu_plane heads;
  int64_t head_dim;
  cpu_norm norm;
  cpu_rotations rotations;  // of half of head_dim; NULL for none
} cpu_heads_args;

// Writes each row's keys and values into its slot, at its position.
typedef struct {
  cpu_plane keys;
  cpu_plane values;
  cpu_cache cache;
} cpu_append_args;

// output = softmax(scale · q · Kᵀ) · V for each head.
typedef struct {
  cpu_plane queries;
  cpu_cache cache;
  int64_t heads;
  float scale;
  cpu_plane output;
} cpu_attend_args;

// output = (Σ residuals + rms(input)) · scale; next_output = rms(output) if next_output.base.
typedef struct {
  cpu_plane input;
  cpu_norm norm;
  const cpu_plane *residuals;
  int64_t residual_count;
  float scale;
  cpu_plane output;
  cpu_norm next_norm;
  cpu_plane next_output;
} cpu_add_normed_args;

// gate = gelu(gate) ⊙ other[first ..< first + gate.width], in place.
typedef struct {
  cpu_plane gate;
  cpu_plane other;
  int64_t first;
} cpu_gate_args;

// gate = gelu(relu(gate - (mean + deviations · std))) ⊙ other, in place.
typedef struct {
  cpu_plane gate;
  cpu_plane other;
  float deviations;
} cpu_cut_gate_args;

// r(x) = tanh(weight · rms(x) / width).
typedef struct {
  const float *weight;  // [streams, width]
  cpu_norm norm;
} cpu_router;

enum { CPU_MAX_STREAMS = 8 };

// q = coefficients · r(streams[active]); output[i] = streams[i] + Σⱼ q[A·i + j] · streams[j].
typedef struct {
  cpu_plane streams;  // plane 0
  int64_t stream_count;
  int64_t active;
  cpu_router router;
  const float *coefficients;  // [A·A, A]
  cpu_plane output;           // plane 0
} cpu_altup_predict_args;

// delta = activated - predictions[active]; k = coefficients · r(activated) + 1;
// streams[i] = predictions[i] + kᵢ · delta; scaled = streams[active] ⊙ output_scale.
typedef struct {
  cpu_plane predictions;  // plane 0
  int64_t stream_count;
  int64_t active;
  cpu_plane activated;
  cpu_router router;
  const float *coefficients;  // [A, A]
  const float *output_scale;  // [width], NULL for none
  cpu_plane streams;          // plane 0
  cpu_plane scaled;
} cpu_altup_correct_args;

// streams[i] = (streams[i] + rms(input)) · scale for i from 1, or for the only one.
typedef struct {
  cpu_plane input;
  cpu_norm norm;
  float scale;
  cpu_plane streams;  // plane 0
  int64_t stream_count;
} cpu_inject_args;

// output = (rms(projected · projection_scale) + table[token] · table_scale) · output_scale, the
// norm over each `width` values. A token beyond the table uses its row 0.
typedef struct {
  cpu_plane projected;
  float projection_scale;
  cpu_norm norm;
  int64_t width;
  cpu_matrix table;
  int64_t first_column;
  float table_scale;
  float output_scale;
  cpu_plane output;
} cpu_per_layer_args;

// Plane 0 of streams = input; each other plane is brought to the input's magnitude:
// y · sqrt(mean(input²)) / sqrt(max(mean(y²), 1e-5)).
typedef struct {
  cpu_plane input;
  cpu_plane streams;  // plane 0
  int64_t stream_count;
} cpu_expand_args;

// output = rms((first + Σ others) / A), the others brought to the magnitude of the first.
typedef struct {
  cpu_plane first;
  cpu_plane others;  // plane 0 of A - 1
  int64_t other_count;
  cpu_norm norm;
  cpu_plane output;
} cpu_merge_args;

// output = input's wanted rows, all planes.
typedef struct {
  cpu_plane input;   // plane 0
  cpu_plane output;  // plane 0
  int64_t planes;
} cpu_keep_args;

// --- The machine's limits ------------------------------------------------------------------------

// A thread's sink has a cache line of its own.
enum { CPU_SINK_STRIDE = 16 };

// Reads `bytes` of memory, a multiple of 256, once.
typedef struct {
  const uint8_t *memory;
  int64_t bytes;
  uint32_t *sinks;  // [threads, CPU_SINK_STRIDE]; a result, so that the reads are not optimised away
} cpu_read_args;

// Computes in registers: `integer_operations` or `float_operations` for each round and thread.
typedef struct {
  int64_t rounds;
  uint32_t *sinks;  // [threads, CPU_SINK_STRIDE]
} cpu_peak_args;

#endif
