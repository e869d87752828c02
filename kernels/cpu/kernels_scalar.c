// The kernels for any machine.
#include <math.h>
#include <string.h>

#include "isa.h"

#define CPU_THIS_ISA CPU_ISA_SCALAR

#include "families.h"

const cpu_kernels cpu_kernels_scalar = KERNEL_TABLE;
