// All encoders, and their table. It is included once for each instruction set, by the file that
// names it in QUANTISE_THIS_ISA. Each header uses those before it.

// Vectors wider than the registers are passed only between inlined functions, so the calling
// convention does not matter.
#pragma clang diagnostic ignored "-Wpsabi"

// The basics.
#include "vector.h"
#include "halves.h"
#include "levels.h"
#include "block.h"

// Searches, for a sub-block and for the scales that several share.
#include "search_scale.h"
#include "search_affine.h"
#include "codes_scale.h"
#include "codes_affine.h"

// Types.
#include "encode_float.h"
#include "store.h"
#include "encode_scale.h"
#include "encode_affine.h"

#define ENCODER(name, number, columns, bytes) [number] = encode_##name,
#define ENCODER_TABLE {.encode = {QUANTISE_TYPES(ENCODER)}}
