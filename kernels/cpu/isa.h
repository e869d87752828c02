// The instruction sets the kernels are compiled for, and the sizes that kernels and those who give them
// memory must agree on.
#ifndef CPU_ISA_H
#define CPU_ISA_H

#include "CPUKernels.h"

#define CPU_ISA_SCALAR 0
#define CPU_ISA_AVX2 1
#define CPU_ISA_AVX512VNNI 2

enum {
  TILE_ROWS = 16,          // rows of a tile of packed weights
  DECODED_COLUMNS = 4096,  // the most a tile may have to be decoded into scratch: 176 KiB then
  COLUMN_ROWS = 64,        // output rows that weights packed by columns are padded to
  COLUMN_GROUP = 8,        // rows of activations that go through such weights together
  DECODED_VECTORS = 11,    // of TILE_ROWS lanes, that 32 columns of a decoded tile take
};

extern const cpu_kernels cpu_kernels_scalar;
#if defined(__x86_64__)
extern const cpu_kernels cpu_kernels_avx2;
extern const cpu_kernels cpu_kernels_avx512vnni;
#endif

#endif
