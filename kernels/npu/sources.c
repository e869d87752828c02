// The sources of the cores' programs, in the binary.
#include "NPUKernels.h"

static const char gemm_int8[] = {
#embed "gemm_int8.aie2s"
    , 0};

static const char copy[] = {
#embed "copy.aie2s"
    , 0};

const char *npu_gemm_int8(void) { return gemm_int8; }

const char *npu_copy(void) { return copy; }
