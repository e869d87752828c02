// The instruction sets the kernels are compiled for.
#ifndef CPU_ISA_H
#define CPU_ISA_H

#include "CPUKernels.h"

#define CPU_ISA_SCALAR 0
#define CPU_ISA_AVX2 1
#define CPU_ISA_AVX512VNNI 2

extern const cpu_kernels cpu_kernels_scalar;
#if defined(__x86_64__)
extern const cpu_kernels cpu_kernels_avx2;
extern const cpu_kernels cpu_kernels_avx512vnni;
#endif

#endif
