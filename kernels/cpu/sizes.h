// The sizes that kernels and those who give them memory must agree on; sizes.c computes with them.
#ifndef CPU_SIZES_H
#define CPU_SIZES_H

enum {
  LANES = 16,              // f32 of a vector, whatever the machine's registers
  TILE_ROWS = 16,          // rows of a tile of packed weights
  DECODED_COLUMNS = 4096,  // the most a tile may have to be decoded into scratch: 176 KiB then
  DECODED_VECTORS = 11,    // of TILE_ROWS lanes, that 32 columns of a decoded tile take
  COLUMN_ROWS = 64,        // output rows that weights packed by columns are padded to
  COLUMN_GROUP = 8,        // rows of activations that go through such weights together
  HEADS_TOGETHER = 4,      // attention heads whose scores are in scratch together
};

#endif
