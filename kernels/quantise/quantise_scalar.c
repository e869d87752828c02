// The encoders for any machine.
#include <math.h>
#include <string.h>

#include "isa.h"

#define QUANTISE_THIS_ISA QUANTISE_ISA_SCALAR

#include "families.h"

const row_encoders row_encoders_scalar = ENCODER_TABLE;
