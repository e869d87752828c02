// The element types of weights. This is the only table of them in C.
// Sources/Compute/TensorType.swift has the same table in Swift, and CPUBackendTests compares the
// two.
#ifndef CPU_TYPES_H
#define CPU_TYPES_H

#include <stdbool.h>
#include <stdint.h>

// A row is a name, the number of the type in GGUF files, and the values and bytes of one of ggml's
// blocks. From it are generated the enum below, the sizes of blocks (types.h), and the tables of
// kernels (families.h), in which
//   FLOAT      has matmul_<name>_f32 and dequantise_<name>;
//   QUANTISED  has matmul_<name>_i8, scale_selected_<name> and dequantise_<name>.
#define CPU_TYPES(FLOAT, QUANTISED) \
  FLOAT(f32, 0, 1, 4)               \
  FLOAT(f16, 1, 1, 2)               \
  FLOAT(bf16, 30, 1, 2)             \
  QUANTISED(q4_0, 2, 32, 18)        \
  QUANTISED(q4_1, 3, 32, 20)        \
  QUANTISED(q5_0, 6, 32, 22)        \
  QUANTISED(q5_1, 7, 32, 24)        \
  QUANTISED(q8_0, 8, 32, 34)        \
  QUANTISED(q2_K, 10, 256, 84)      \
  QUANTISED(q3_K, 11, 256, 110)     \
  QUANTISED(q4_K, 12, 256, 144)     \
  QUANTISED(q5_K, 13, 256, 176)     \
  QUANTISED(q6_K, 14, 256, 210)     \
  QUANTISED(iq4_nl, 20, 32, 18)     \
  QUANTISED(iq4_xs, 23, 256, 136)

// CPU_q4_0 and so on: the number in a GGUF file.
#define CPU_TYPE_NUMBER(name, number, columns, bytes) CPU_##name = number,
typedef enum { CPU_TYPES(CPU_TYPE_NUMBER, CPU_TYPE_NUMBER) } cpu_type;
#undef CPU_TYPE_NUMBER

// All numbers are below this; it is the length of tables that are indexed by type.
enum { CPU_TYPE_LIMIT = 64 };

// A row of the table.
typedef struct {
  const char *name;   // NULL if the table has no such type
  int32_t columns;    // values of a block
  int32_t bytes;      // of a block
  bool is_quantised;  // products read activations as int8
} cpu_type_row;

// Returns a type's row; any number is allowed.
cpu_type_row cpu_type_row_of(cpu_type type);

// Returns how many types the table has.
int32_t cpu_type_count(void);

#endif
