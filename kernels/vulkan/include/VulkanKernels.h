// The shaders, compiled, and the packing of weights for them.
#ifndef VULKAN_KERNELS_H
#define VULKAN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

// A shader as SPIR-V. Its name is that of its source, for example "norm" or "matmul_q4_0_i8".
typedef struct {
  const char *name;
  const uint32_t *words;
  size_t byte_count;
} vulkan_shader;

// The shader with this name; NULL if there is none.
const vulkan_shader *vulkan_shader_named(const char *name);

// All shaders, in the order of their names; the last has no name.
extern const vulkan_shader vulkan_shaders[];

// A number that another version of the shaders has not.
uint64_t vulkan_shaders_hash(void);

// Sixteen rows of packed weights are a tile; rows are filled up to whole tiles with zeros.
enum { VULKAN_TILE_ROWS = 16, VULKAN_CHUNK_COLUMNS = 256 };

// `type` is the type's number in GGUF files. The bytes of a tile, or -1 if there is no kernel for the type
// or it has no rows of so many columns.
int64_t vulkan_tile_bytes(uint32_t type, int64_t columns);

// The bytes of the part of a tile that has 256 columns.
int64_t vulkan_chunk_bytes(uint32_t type);

// Packs rows as files have them into whole tiles.
void vulkan_pack(uint32_t type, const uint8_t *source, int64_t rows, int64_t columns, int64_t row_bytes,
                 uint8_t *packed);

// Weights of which only some columns are read, for matmul_q4_0_columns, are packed column by column: here a
// tile has 128 rows.
enum { VULKAN_COLUMN_TILE_ROWS = 128 };

// The bytes of a tile of q4_0 packed by columns, or -1 if there are no rows of so many columns.
int64_t vulkan_column_tile_bytes(int64_t columns);

// Packs rows of q4_0 as files have them into whole tiles, by columns.
void vulkan_pack_columns(const uint8_t *source, int64_t rows, int64_t columns, int64_t row_bytes,
                         uint8_t *packed);

#endif
