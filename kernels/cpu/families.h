// All families of kernels, and their table. It is included once for each instruction set, by the
// file that names it in CPU_THIS_ISA. Each header uses those before it.

// Vectors wider than the registers are passed only between inlined functions, so the calling
// convention does not matter.
#pragma clang diagnostic ignored "-Wpsabi"

// Expands a row of the table of types to nothing, for types that need no kernel.
#define NO_KERNEL(name, number, columns, bytes)

// The basics of all kernels.
#include "types.h"
#include "vector.h"
#include "floats.h"
#include "tile.h"
#include "quantise.h"

// Products: first the parts that all types share, then a file for each type.
#include "packed.h"
#include "dot_block.h"
#include "matmul_tile.h"
#include "fields.h"
#include "matmul_float_f32.h"
#include "matmul_q4_0_i8.h"
#include "matmul_q4_1_i8.h"
#include "matmul_q5_0_i8.h"
#include "matmul_q5_1_i8.h"
#include "matmul_q8_0_i8.h"
#include "matmul_q2_K_i8.h"
#include "matmul_q3_K_i8.h"
#include "matmul_q4_K_i8.h"
#include "matmul_q5_K_i8.h"
#include "matmul_q6_K_i8.h"
#include "matmul_iq4_nl_i8.h"
#include "matmul_iq4_xs_i8.h"

// Tables that are generated from the table of types.
#include "dequantise.h"
#include "pack.h"

// The feed-forward.
#include "gate.h"
#include "sparse.h"
#include "columns.h"

// What calibration looks at.
#include "observe.h"

// Lookups, norms, streams.
#include "embed.h"
#include "per_layer.h"
#include "norm.h"
#include "altup.h"
#include "keep.h"

// Products as an array of cores does them.
#include "hadamard.h"
#include "array_i8.h"

// Attention.
#include "rope.h"
#include "heads.h"
#include "cache.h"
#include "append.h"
#include "attend_tile.h"
#include "attend.h"

// The machine's limits.
#include "machine.h"

#define FLOAT_MATMUL(name, number, columns, bytes) [CPU_##name] = matmul_##name##_f32,
#define QUANTISED_MATMUL(name, number, columns, bytes) [CPU_##name] = matmul_##name##_i8,
#define SCALE_SELECTED(name, number, columns, bytes) [CPU_##name] = scale_selected_##name,

#define KERNEL_TABLE                                             \
  {                                                              \
    .matmul = {CPU_TYPES(FLOAT_MATMUL, QUANTISED_MATMUL)},       \
    .scale_selected = {CPU_TYPES(NO_KERNEL, SCALE_SELECTED)},    \
    .matmul_columns = matmul_columns,                            \
    .pack_columns = pack_columns,                                \
    .select_columns = select_columns,                            \
    .read_memory = read_memory,                                  \
    .multiply_integers = multiply_integers,                      \
    .multiply_floats = multiply_floats,                          \
    .integer_operations = 2 * 4 * 4 * TILE * CHAINS,             \
    .float_operations = 2 * 4 * LANES * CHAINS,                  \
    .attend = attend,                                            \
    .embed = embed,                                              \
    .quantise = quantise,                                        \
    .quantise_columns = quantise_columns,                        \
    .norm = norm,                                                \
    .rope = rope,                                                \
    .heads = heads,                                              \
    .append = append,                                            \
    .add_normed = add_normed,                                    \
    .gate = gate,                                                \
    .observe = observe,                                          \
    .cut_gate = cut_gate,                                        \
    .altup_predict = altup_predict,                              \
    .altup_correct = altup_correct,                              \
    .inject = inject,                                            \
    .per_layer = per_layer,                                      \
    .expand = expand,                                            \
    .merge = merge,                                              \
    .keep = keep,                                                \
    .pack = pack,                                                \
    .quantise_rows = quantise_rows,                              \
    .multiply_array = multiply_array,                            \
    .scale_sums = scale_sums,                                    \
    .pack_array = pack_array,                                    \
    .dequantise = dequantise,                                    \
  }
