// Products of four int8 in a word each, by SPV_KHR_integer_dot_product; GLSL has no name for them yet.
// The last argument is 0: PackedVectorFormat4x8Bit.
#extension GL_EXT_spirv_intrinsics : require

spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int dot_signed(int a, int b, spirv_literal int format);  // OpSDot

spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4452)
int dot_signed_unsigned(int a, uint b, spirv_literal int format);  // OpSUDot
