// The sizes that kernels and the code that allocates their memory must agree on; sizes.c uses them.
#ifndef CPU_SIZES_H
#define CPU_SIZES_H

#include <stdint.h>

enum {
  LANES = 16,              // f32 of a vector, whatever the machine's registers
  TILE_ROWS = 16,          // rows of a tile of packed weights
  DECODED_COLUMNS = 4096,  // the most columns of a tile that is decoded into scratch: 176 KiB
  DECODED_VECTORS = 11,    // vectors of TILE_ROWS lanes for 32 columns of a decoded tile
  COLUMN_ROWS = 64,        // output rows that weights packed by columns are padded to
  COLUMN_GROUP = 8,        // rows of activations that are multiplied by such weights together
  HEADS_TOGETHER = 8,      // attention heads whose scores are in scratch together
  SLOT_ROWS_TOGETHER = 8,       // the most rows whose scores are in scratch together
};

// Returns how many rows that see up to `positions` are processed together by attention.
int64_t attend_rows_together(int64_t positions);

// Returns how many positions of keys or values are processed together by attention, at most.
int64_t attend_block(int64_t head_dim);

// Returns the number of f32 from the scores of a head to those of the next.
int64_t attend_score_stride(int64_t positions);

#endif
