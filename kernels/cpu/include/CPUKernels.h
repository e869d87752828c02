// The CPU kernels: a thread pool that runs a list of prepared calls, and the kernels of those
// calls. All state belongs to the caller. A kernel reads its arguments, does its thread's share and
// returns.
//
// CPUTypes.h has the table of weight types, CPUPool.h steps, calls and the pool, CPUOperands.h the
// operands of kernels, CPUArguments.h what each kernel computes. This file has the tables of
// kernels.
//
// Numerics. Every kernel rounds in the same way on every instruction set: fixed lane counts, a
// fixed order of sums, no fused multiply-add. So a row's result does not depend on its batch, on
// the number of threads, or on the machine.
#ifndef CPU_KERNELS_H
#define CPU_KERNELS_H

#include "CPUArguments.h"
#include "CPUOperands.h"
#include "CPUPool.h"
#include "CPUTypes.h"

// The instruction sets; each has all kernels.
typedef enum { CPU_SCALAR, CPU_AVX2, CPU_AVX512VNNI } cpu_isa;

// The kernels of one instruction set.
typedef struct {
  // Indexed by cpu_type. Split over the weight's rows, which are the output's columns.
  cpu_kernel matmul[CPU_TYPE_LIMIT];
  // Split over the same columns of all rows.
  cpu_kernel gate, quantise_columns, observe;
  // Split over tiles of weights.
  cpu_kernel pack, matmul_columns, pack_columns, pack_array, multiply_array;
  // Indexed by cpu_type, NULL for floats. Split over groups of selected rows.
  cpu_kernel scale_selected[CPU_TYPE_LIMIT];
  // Split over (row, head); quantise is split over (row, part), which means by rows if there is one
  // part.
  cpu_kernel heads, append, attend, quantise;
  // Split by rows.
  cpu_kernel embed, norm, rope, add_normed, cut_gate, select_columns, quantise_rows, scale_sums;
  cpu_kernel altup_predict, altup_correct, inject, per_layer, expand, merge, keep;
  // The machine's limits.
  cpu_kernel read_memory, multiply_integers, multiply_floats;
  int32_t integer_operations, float_operations;
  // Decodes `count` values, a multiple of the type's block.
  void (*dequantise)(cpu_type type, const uint8_t *blocks, int64_t count, float *values);
} cpu_kernels;

// Returns the kernels of an instruction set, NULL if this machine lacks it.
const cpu_kernels *cpu_kernels_for(cpu_isa isa);

// Returns the product kernel for weights of a type, NULL if there is no such type.
cpu_kernel cpu_matmul(const cpu_kernels *kernels, cpu_type type);

// Returns the kernel that scales a gate by selected rows of a weight of a type; NULL for others.
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

// Returns the scratch bytes that a thread needs for attention over a cache.
int64_t cpu_attend_scratch(const cpu_cache *cache);

#endif
