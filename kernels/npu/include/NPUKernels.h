// The programs of the array's cores, as text that the assembler reads (kernels/npu/README.md), terminated by zero.
#ifndef NPU_KERNELS_H
#define NPU_KERNELS_H

// A product of signed bytes on one core of many.
const char *npu_gemm_int8(void);

// Copies one buffer to the other.
const char *npu_copy(void);

#endif
