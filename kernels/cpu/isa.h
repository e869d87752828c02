// The instruction sets the kernels are compiled for.
#ifndef CPU_ISA_H
#define CPU_ISA_H

#include "CPUKernels.h"

// For the preprocessor, which does not know cpu_isa.
#define CPU_ISA_SCALAR 0
#define CPU_ISA_AVX2 1
#define CPU_ISA_AVX512VNNI 2
_Static_assert(CPU_ISA_SCALAR == CPU_SCALAR && CPU_ISA_AVX2 == CPU_AVX2 &&
                   CPU_ISA_AVX512VNNI == CPU_AVX512VNNI,
               "both number the instruction sets alike");

extern const cpu_kernels cpu_kernels_scalar;
#if defined(__x86_64__)
extern const cpu_kernels cpu_kernels_avx2;
extern const cpu_kernels cpu_kernels_avx512vnni;
#endif

#endif
