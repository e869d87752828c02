// Every kernel family, and their table. Included once for each instruction set, by the file that
// names it in CPU_THIS_ISA.

// Vectors wider than the registers are passed only between functions that are inlined, so no
// calling convention is at stake.
#pragma clang diagnostic ignored "-Wpsabi"

#include "vector.h"

#include "tile.h"
// After tile.h.
#include "packed.h"

#include "altup.h"
#include "dequantise.h"
#include "embed.h"
#include "gate.h"
#include "matmul_float_f32.h"
#include "norm.h"
#include "pack.h"
#include "quantise.h"
// After those before: it reads and writes the number formats they define.
#include "cache.h"
// After cache.h.
#include "attend.h"
#include "rope.h"

#include "matmul_tile.h"
// After matmul_tile.h; the later ones use what the earlier ones define.
#include "matmul_q4_0_i8.h"
#include "matmul_q4_1_i8.h"
#include "matmul_q5_0_i8.h"
#include "matmul_q5_1_i8.h"
#include "matmul_q8_0_i8.h"
#include "matmul_q4_K_i8.h"
#include "matmul_q5_K_i8.h"
#include "matmul_q6_K_i8.h"
#include "matmul_q2_K_i8.h"
#include "matmul_q3_K_i8.h"
#include "matmul_iq4_nl_i8.h"
#include "matmul_iq4_xs_i8.h"

#include "machine.h"
#include "sparse.h"

#define KERNEL_TABLE                                   \
  {                                                    \
    .matmul =                                          \
        {                                              \
            [CPU_F32] = matmul_f32_f32,                \
            [CPU_F16] = matmul_f16_f32,                \
            [CPU_BF16] = matmul_bf16_f32,              \
            [CPU_Q4_0] = matmul_q4_0_i8,               \
            [CPU_Q4_1] = matmul_q4_1_i8,               \
            [CPU_Q5_0] = matmul_q5_0_i8,               \
            [CPU_Q5_1] = matmul_q5_1_i8,               \
            [CPU_Q8_0] = matmul_q8_0_i8,               \
            [CPU_Q2_K] = matmul_q2_K_i8,               \
            [CPU_Q3_K] = matmul_q3_K_i8,               \
            [CPU_Q4_K] = matmul_q4_K_i8,               \
            [CPU_Q5_K] = matmul_q5_K_i8,               \
            [CPU_Q6_K] = matmul_q6_K_i8,               \
            [CPU_IQ4_NL] = matmul_iq4_nl_i8,           \
            [CPU_IQ4_XS] = matmul_iq4_xs_i8,           \
        },                                             \
    .scale_selected =                                  \
        {                                              \
            [CPU_Q4_0] = scale_selected_q4_0,          \
            [CPU_Q4_1] = scale_selected_q4_1,          \
            [CPU_Q5_0] = scale_selected_q5_0,          \
            [CPU_Q5_1] = scale_selected_q5_1,          \
            [CPU_Q8_0] = scale_selected_q8_0,          \
            [CPU_Q2_K] = scale_selected_q2_K,          \
            [CPU_Q3_K] = scale_selected_q3_K,          \
            [CPU_Q4_K] = scale_selected_q4_K,          \
            [CPU_Q5_K] = scale_selected_q5_K,          \
            [CPU_Q6_K] = scale_selected_q6_K,          \
            [CPU_IQ4_NL] = scale_selected_iq4_nl,      \
            [CPU_IQ4_XS] = scale_selected_iq4_xs,      \
        },                                             \
    .matmul_columns = matmul_columns,                  \
    .pack_columns = pack_columns,                      \
    .select_columns = select_columns,                  \
    .read_memory = read_memory,                        \
    .multiply_integers = multiply_integers,            \
    .multiply_floats = multiply_floats,                \
    .integer_operations = 2 * 4 * 4 * TILE * CHAINS,   \
    .float_operations = 2 * 4 * LANES * CHAINS,        \
    .attend = attend,                                  \
    .embed = embed,                                    \
    .quantise = quantise,                              \
    .quantise_columns = quantise_columns,              \
    .norm = norm,                                      \
    .rope = rope,                                      \
    .heads = heads,                                    \
    .append = append,                                  \
    .add_normed = add_normed,                          \
    .gate = gate,                                      \
    .cut_gate = cut_gate,                              \
    .altup_predict = altup_predict,                    \
    .altup_correct = altup_correct,                    \
    .inject = inject,                                  \
    .per_layer = per_layer,                            \
    .expand = expand,                                  \
    .merge = merge,                                    \
    .keep = keep,                                      \
    .pack = pack,                                      \
    .dequantise = dequantise,                          \
  }
