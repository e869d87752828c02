// Written by scripts/compile-shaders: the shaders as constants.

#include "include/VulkanKernels.h"

_Alignas(4) static const unsigned char add_normed_spirv[] = {
#embed "spirv/add_normed.spv"
};
_Alignas(4) static const unsigned char altup_correct_spirv[] = {
#embed "spirv/altup_correct.spv"
};
_Alignas(4) static const unsigned char altup_predict_spirv[] = {
#embed "spirv/altup_predict.spv"
};
_Alignas(4) static const unsigned char append_spirv[] = {
#embed "spirv/append.spv"
};
_Alignas(4) static const unsigned char append_q8_0_spirv[] = {
#embed "spirv/append_q8_0.spv"
};
_Alignas(4) static const unsigned char attend_spirv[] = {
#embed "spirv/attend.spv"
};
_Alignas(4) static const unsigned char attend_merge_spirv[] = {
#embed "spirv/attend_merge.spv"
};
_Alignas(4) static const unsigned char cut_gate_spirv[] = {
#embed "spirv/cut_gate.spv"
};
_Alignas(4) static const unsigned char expand_spirv[] = {
#embed "spirv/expand.spv"
};
_Alignas(4) static const unsigned char gate_spirv[] = {
#embed "spirv/gate.spv"
};
_Alignas(4) static const unsigned char heads_spirv[] = {
#embed "spirv/heads.spv"
};
_Alignas(4) static const unsigned char inject_spirv[] = {
#embed "spirv/inject.spv"
};
_Alignas(4) static const unsigned char keep_spirv[] = {
#embed "spirv/keep.spv"
};
_Alignas(4) static const unsigned char matmul_bf16_f32_spirv[] = {
#embed "spirv/matmul_bf16_f32.spv"
};
_Alignas(4) static const unsigned char matmul_f16_f32_spirv[] = {
#embed "spirv/matmul_f16_f32.spv"
};
_Alignas(4) static const unsigned char matmul_f32_f32_spirv[] = {
#embed "spirv/matmul_f32_f32.spv"
};
_Alignas(4) static const unsigned char matmul_iq4_nl_i8_spirv[] = {
#embed "spirv/matmul_iq4_nl_i8.spv"
};
_Alignas(4) static const unsigned char matmul_iq4_xs_i8_spirv[] = {
#embed "spirv/matmul_iq4_xs_i8.spv"
};
_Alignas(4) static const unsigned char matmul_q2_K_i8_spirv[] = {
#embed "spirv/matmul_q2_K_i8.spv"
};
_Alignas(4) static const unsigned char matmul_q3_K_i8_spirv[] = {
#embed "spirv/matmul_q3_K_i8.spv"
};
_Alignas(4) static const unsigned char matmul_q4_0_columns_spirv[] = {
#embed "spirv/matmul_q4_0_columns.spv"
};
_Alignas(4) static const unsigned char matmul_q4_0_i8_spirv[] = {
#embed "spirv/matmul_q4_0_i8.spv"
};
_Alignas(4) static const unsigned char matmul_q4_1_i8_spirv[] = {
#embed "spirv/matmul_q4_1_i8.spv"
};
_Alignas(4) static const unsigned char matmul_q4_K_i8_spirv[] = {
#embed "spirv/matmul_q4_K_i8.spv"
};
_Alignas(4) static const unsigned char matmul_q5_0_i8_spirv[] = {
#embed "spirv/matmul_q5_0_i8.spv"
};
_Alignas(4) static const unsigned char matmul_q5_1_i8_spirv[] = {
#embed "spirv/matmul_q5_1_i8.spv"
};
_Alignas(4) static const unsigned char matmul_q5_K_i8_spirv[] = {
#embed "spirv/matmul_q5_K_i8.spv"
};
_Alignas(4) static const unsigned char matmul_q6_K_i8_spirv[] = {
#embed "spirv/matmul_q6_K_i8.spv"
};
_Alignas(4) static const unsigned char matmul_q8_0_i8_spirv[] = {
#embed "spirv/matmul_q8_0_i8.spv"
};
_Alignas(4) static const unsigned char merge_spirv[] = {
#embed "spirv/merge.spv"
};
_Alignas(4) static const unsigned char multiply_floats_spirv[] = {
#embed "spirv/multiply_floats.spv"
};
_Alignas(4) static const unsigned char multiply_integers_spirv[] = {
#embed "spirv/multiply_integers.spv"
};
_Alignas(4) static const unsigned char norm_spirv[] = {
#embed "spirv/norm.spv"
};
_Alignas(4) static const unsigned char per_layer_spirv[] = {
#embed "spirv/per_layer.spv"
};
_Alignas(4) static const unsigned char quantise_spirv[] = {
#embed "spirv/quantise.spv"
};
_Alignas(4) static const unsigned char read_memory_spirv[] = {
#embed "spirv/read_memory.spv"
};

#define SHADER(name) {#name, (const uint32_t *)name##_spirv, sizeof name##_spirv}

const vulkan_shader vulkan_shaders[] = {
    SHADER(add_normed),
    SHADER(altup_correct),
    SHADER(altup_predict),
    SHADER(append),
    SHADER(append_q8_0),
    SHADER(attend),
    SHADER(attend_merge),
    SHADER(cut_gate),
    SHADER(expand),
    SHADER(gate),
    SHADER(heads),
    SHADER(inject),
    SHADER(keep),
    SHADER(matmul_bf16_f32),
    SHADER(matmul_f16_f32),
    SHADER(matmul_f32_f32),
    SHADER(matmul_iq4_nl_i8),
    SHADER(matmul_iq4_xs_i8),
    SHADER(matmul_q2_K_i8),
    SHADER(matmul_q3_K_i8),
    SHADER(matmul_q4_0_columns),
    SHADER(matmul_q4_0_i8),
    SHADER(matmul_q4_1_i8),
    SHADER(matmul_q4_K_i8),
    SHADER(matmul_q5_0_i8),
    SHADER(matmul_q5_1_i8),
    SHADER(matmul_q5_K_i8),
    SHADER(matmul_q6_K_i8),
    SHADER(matmul_q8_0_i8),
    SHADER(merge),
    SHADER(multiply_floats),
    SHADER(multiply_integers),
    SHADER(norm),
    SHADER(per_layer),
    SHADER(quantise),
    SHADER(read_memory),
    {0, 0, 0},
};
