// The table of types (CPUTypes.h) as constants: COLUMNS_q4_0 and BYTES_q4_0 are the values and bytes of
// a block of q4_0.
#ifndef CPU_TYPE_CONSTANTS_H
#define CPU_TYPE_CONSTANTS_H

#include <stddef.h>

#include "CPUKernels.h"

#define BLOCK_SIZES(name, number, columns, bytes) COLUMNS_##name = columns, BYTES_##name = bytes,
enum { CPU_TYPES(BLOCK_SIZES, BLOCK_SIZES) };
#undef BLOCK_SIZES

// A union that is as large as the largest block.
#define BLOCK_MEMBER(name, number, columns, bytes) uint8_t name[bytes];
union largest_block {
  CPU_TYPES(BLOCK_MEMBER, BLOCK_MEMBER)
};
#undef BLOCK_MEMBER
enum { LARGEST_BLOCK = sizeof(union largest_block) };

#define IN_RANGE(name, number, columns, bytes) \
  _Static_assert(0 <= number && number < CPU_TYPE_LIMIT, "tables by type have room for " #name);
CPU_TYPES(IN_RANGE, IN_RANGE)
#undef IN_RANGE

#define WHOLE_BLOCKS(name, number, columns, bytes) \
  _Static_assert(columns % CPU_BLOCK == 0, "blocks of activations divide those of " #name);
#define NO_BLOCKS(name, number, columns, bytes) \
  _Static_assert(columns == 1, #name " has no blocks");
CPU_TYPES(NO_BLOCKS, WHOLE_BLOCKS)
#undef WHOLE_BLOCKS
#undef NO_BLOCKS

static inline cpu_type_row type_row(cpu_type type) {
  switch (type) {
#define FLOAT_ROW(name, number, columns, bytes) \
  case CPU_##name:                              \
    return (cpu_type_row){#name, columns, bytes, false};
#define QUANTISED_ROW(name, number, columns, bytes) \
  case CPU_##name:                                  \
    return (cpu_type_row){#name, columns, bytes, true};
    CPU_TYPES(FLOAT_ROW, QUANTISED_ROW)
#undef FLOAT_ROW
#undef QUANTISED_ROW
  }
  return (cpu_type_row){NULL, 0, 0, false};
}

#endif
