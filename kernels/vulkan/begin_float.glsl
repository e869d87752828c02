// What a file matmul_<type>_f32.comp begins with; it ends with matmul_float.glsl.
#extension GL_EXT_control_flow_attributes : require
#include "functions.glsl"
#include "weights.glsl"

layout(constant_id = 5) const bool IS_ALIGNED = false;  // whether columns are a multiple of GROUP

layout(binding = 1) readonly buffer Input { float x[]; };  // [tokens, columns]
#define OUTPUT_BINDING 2
#include "matmul.glsl"
