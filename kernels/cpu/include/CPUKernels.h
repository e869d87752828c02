// The CPU kernels: a thread pool that walks a list of prepared calls, and the kernels those calls
// name. All state is the caller's; a kernel reads its arguments, does its thread's share and
// returns.
//
// Numerics. Every kernel rounds the same way on every instruction set: fixed lane counts, fixed
// order of sums, no fused multiply-add. So a row's result does not depend on the batch it is in, on
// the number of threads, or on the machine. What is computed is written at each argument struct.
#ifndef CPU_KERNELS_H
#define CPU_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

// --- Steps and calls -----------------------------------------------------------------------------

// One token of one session in a step.
typedef struct {
  int32_t slot;
  int32_t position;
  int32_t token;
} cpu_row;

// The two sets of rows a buffer may hold.
enum { CPU_ROWS_ALL = 0, CPU_ROWS_WANTED = 1 };

// What differs from step to step.
typedef struct {
  const cpu_row *rows[2];  // by row set
  int32_t counts[2];       // by row set
  const int32_t *wanted;   // [counts[WANTED]] indices into rows[ALL]
  uint8_t *scratch;        // [threads, scratch_bytes], 64-byte aligned
  int64_t scratch_bytes;   // enough for every call: cpu_..._scratch
} cpu_step;

// Does the share of `thread` out of `threads` of a call.
typedef void (*cpu_kernel)(const void *args, const cpu_step *step, int thread, int threads);

typedef struct {
  cpu_kernel run;
  const void *args;
  // Whether every thread must have finished the calls before. Not needed if each thread touches
  // only what it wrote itself: kernels that split the same things split them alike.
  bool waits;
} cpu_call;

// --- The pool ------------------------------------------------------------------------------------

typedef struct cpu_pool cpu_pool;

// Starts `threads` - 1 threads; the caller of cpu_pool_run is thread 0. With `cpus`, thread i stays
// on CPU cpus[i], the caller included. Returns NULL with errno set on failure.
cpu_pool *cpu_pool_create(int threads, const int *cpus);

// Runs the calls in order, each on all threads. Callers take turns.
void cpu_pool_run(cpu_pool *pool, const cpu_call *calls, int64_t count, const cpu_step *step);

// Ends and joins the threads. No run may be under way.
void cpu_pool_destroy(cpu_pool *pool);

// --- Operands ------------------------------------------------------------------------------------

// One [rows, width] plane of a row buffer [planes, rows, width] f32.
typedef struct {
  float *base;
  int64_t width;
  int32_t plane;
  int32_t row_set;
} cpu_plane;

// The element types of a weight, with ggml's block layouts.
typedef enum {
  CPU_F32, CPU_F16, CPU_BF16,
  CPU_Q4_0, CPU_Q4_1, CPU_Q5_0, CPU_Q5_1, CPU_Q8_0,
  CPU_Q2_K, CPU_Q3_K, CPU_Q4_K, CPU_Q5_K, CPU_Q6_K,
  CPU_IQ4_NL, CPU_IQ4_XS,
  CPU_TYPE_COUNT
} cpu_type;

// A weight, [rows, columns]: as it stands in the model file, or packed for products (packed.h).
typedef struct {
  const uint8_t *bytes;
  int64_t rows;
  int64_t columns;
  int64_t row_bytes;
  cpu_type type;
} cpu_matrix;

// Activations as int8: x = quants · scale, one scale for 32 values. Whole groups of eight rows lie
// block by block, [rows / 8, blocks, 8, ...], so that a product of eight rows reads straight ahead;
// the rows left over lie row by row, [rows, blocks, ...].
typedef struct {
  int8_t *quants;      // 32 a block, -127...127
  float *scales;       // one a block
  float *sums;         // one a block: scale · the sum of the quants
  int32_t *eights;     // one a block: -8 · the sum of the quants
  int32_t *halves;     // two a block: -32 · the sum of 16 quants
  int64_t width;
} cpu_quantised;

// An RMS norm: x / sqrt(mean(x²) + epsilon) · gain.
typedef struct {
  const float *gain;  // [width], NULL for none
  float epsilon;
} cpu_norm;

// The element types of a KV cache.
typedef enum { CPU_CACHE_F32, CPU_CACHE_F16, CPU_CACHE_Q8_0 } cpu_cache_type;

// Keys and values of one layer: [slots, kv_heads, capacity] rows of head_dim each. Position p is kept
// at p mod capacity.
typedef struct {
  uint8_t *keys;
  uint8_t *values;
  cpu_cache_type type;
  int64_t slot_bytes;  // from slot to slot
  int64_t row_bytes;   // cpu_cache_row_bytes
  int64_t capacity;    // positions
  int64_t window;       // how many positions a row sees, its own included
  int64_t kv_heads;
  int64_t head_dim;
} cpu_cache;

// --- Arguments, one struct for each kernel -------------------------------------------------------

// output = table[token][first ..< first + output.width] · scale.
typedef struct {
  cpu_matrix table;
  int64_t first;
  float scale;
  cpu_plane output;
} cpu_embed_args;

// output = input as int8. A row is split into `parts` of whole blocks, its heads for example;
// quantise_columns does not look at them.
typedef struct {
  cpu_plane input;
  int64_t parts;
  cpu_quantised output;
} cpu_quantise_args;

// packed = source for products: cpu_packed_rows rows of cpu_packed_row_bytes. By columns, for q4_0
// alone: cpu_column_rows rows of source.row_bytes, in memory that is zero.
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

// The columns of each row that are not zero, ascending.
typedef struct {
  int32_t *counts;   // [rows]
  int32_t *indices;  // [rows, stride]; a row has room for all its columns and one more
  int64_t stride;
} cpu_selected;

// gate = gelu(relu(gate - (mean + deviations · std))), and what is left of it.
typedef struct {
  cpu_plane gate;
  float deviations;
  cpu_selected selected;
} cpu_select_args;

// gate[i] = gate[i] · (weight · quantised)[i] for the selected i; the others are zero and stay so.
typedef struct {
  cpu_matrix weight;  // as stored
  cpu_quantised quantised;
  cpu_selected selected;
  cpu_plane gate;
} cpu_scale_selected_args;

// output = weight · quantised, whose columns but the selected are zero.
typedef struct {
  const uint8_t *columns;  // packed by columns
  int64_t rows;            // of the weight
  cpu_quantised quantised;
  cpu_selected selected;
  cpu_plane output;
} cpu_columns_args;

// output = rms(input).
typedef struct {
  cpu_plane input;
  cpu_norm norm;
  cpu_plane output;
} cpu_norm_args;

// The rotations of each row: cos and sin of position · scale · frequencies[i], [rows, half] each.
typedef struct {
  const double *frequencies;  // [half]
  int64_t half;
  double scale;
  float *cosines;
  float *sines;
  int32_t row_set;
} cpu_rope_args;

// In place, for each head: rms, then the rotation of pairs (i, i + head_dim / 2).
typedef struct {
  cpu_plane heads;
  int64_t head_dim;
  cpu_norm norm;
  const float *cosines;  // [rows, head_dim / 2], NULL for no rotation
  const float *sines;
} cpu_heads_args;

// Each row's keys and values into its slot, at its position.
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

// streams[i] += rms(input) for i from 1.
typedef struct {
  cpu_plane input;
  cpu_norm norm;
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

// Reads `bytes` of memory, a multiple of 256, once.
typedef struct {
  const uint8_t *memory;
  int64_t bytes;
  uint32_t *sinks;  // [threads, 16]; what is read must go somewhere
} cpu_read_args;

// Computes in registers, `integer_operations` or `float_operations` a round and thread.
typedef struct {
  int64_t rounds;
  uint32_t *sinks;  // [threads, 16]
} cpu_peak_args;

// --- The kernels of one instruction set ----------------------------------------------------------

typedef enum { CPU_SCALAR, CPU_AVX2, CPU_AVX512VNNI } cpu_isa;

typedef struct {
  // Split over the weight's rows, which are the output's columns.
  cpu_kernel matmul[CPU_TYPE_COUNT];
  // Split over the same columns of all rows.
  cpu_kernel gate, quantise_columns;
  // Split over tiles of weights.
  cpu_kernel pack, matmul_columns, pack_columns;
  // Split over groups of selected rows.
  cpu_kernel scale_selected[CPU_TYPE_COUNT];
  // Split over (row, head); quantise over (row, part), which is row by row with one part.
  cpu_kernel heads, append, attend, quantise;
  // Row by row.
  cpu_kernel embed, norm, rope, add_normed, cut_gate, select_columns;
  cpu_kernel altup_predict, altup_correct, inject, per_layer, expand, merge, keep;
  // The machine's limits.
  cpu_kernel read_memory, multiply_integers, multiply_floats;
  int32_t integer_operations, float_operations;
  // Decodes `count` values, a multiple of the type's block.
  void (*dequantise)(cpu_type type, const uint8_t *blocks, int64_t count, float *values);
} cpu_kernels;

// Returns the kernels of an instruction set, NULL if this machine lacks it.
const cpu_kernels *cpu_kernels_for(cpu_isa isa);

// Returns the product kernel for weights of a type.
cpu_kernel cpu_matmul(const cpu_kernels *kernels, cpu_type type);

// Returns the kernel that scales a gate by selected rows of a weight of a type; NULL for floats.
cpu_kernel cpu_scale_selected(const cpu_kernels *kernels, cpu_type type);

// Returns the rows that a packed matrix of `rows` rows takes: whole tiles.
int64_t cpu_packed_rows(int64_t rows);

// Returns the bytes of a packed row of a weight.
int64_t cpu_packed_row_bytes(const cpu_matrix *weight);

// Returns the rows that a matrix of `rows` rows takes when packed by columns.
int64_t cpu_column_rows(int64_t rows);

// Returns the scratch bytes a thread needs for products with weights of `columns` columns.
int64_t cpu_matmul_scratch(int64_t columns);

// Returns the scratch bytes a thread needs for products with a matrix of `rows` rows packed by columns.
int64_t cpu_columns_scratch(int64_t rows);

// Returns the bytes of a cache's row; 0 if the type has none of `head_dim` values.
int64_t cpu_cache_row_bytes(cpu_cache_type type, int64_t head_dim);

// Returns the scratch bytes a thread needs for attending to `positions` positions.
int64_t cpu_attend_scratch(int64_t positions);

#endif
