// q6_K: 210 bytes for 256 weights, w = (q - 32) · scale · s, one s for 16 weights.
//
//   [128 bytes of nibbles][64 bytes of high pairs][16 int8 s][scale f16]
//
// Two parts of 128 weights. Weight 32g + l of part h (g < 4, l < 32) has its nibble in byte
// 64h + 32(g mod 2) + l, low for g < 2, and its high pair in bits 2g of pair byte 32h + l.

// TILE consecutive signed bytes.
static INLINE tile_i32 widen_bytes(const uint8_t *p) {
  typedef int8_t tile_i8 __attribute__((vector_size(TILE)));
  tile_i8 bytes;
  memcpy(&bytes, p, sizeof bytes);
  return __builtin_convertvector(bytes, tile_i32);
}

static INLINE void unpack_q6_K(const uint8_t *bytes, int lane, int index, tile_block *block) {
  const uint8_t *unit = bytes + 2 * TILE_ROWS + Q6_K_UNIT_BYTES * index;
  const uint8_t *words = unit + 2 * TILE_ROWS + 4 * lane;
  block->half_scales[0] = widen_bytes(unit + lane);
  block->half_scales[1] = widen_bytes(unit + TILE_ROWS + lane);
  tile_u32 nibbles[4];
  for (int j = 0; j < 4; j++) nibbles[j] = word_at(words, j);
  split_nibbles(nibbles, block->weights);
  for (int k = 0; k < 2; k++) {
    tile_u32 pairs = word_at(words, 4 + k);
    block->weights[4 * k] |= (pairs << 4) & 0x30303030u;
    block->weights[4 * k + 1] |= (pairs << 2) & 0x30303030u;
    block->weights[4 * k + 2] |= pairs & 0x30303030u;
    block->weights[4 * k + 3] |= (pairs >> 2) & 0x30303030u;
  }
  block->scale = load_halves(bytes + 2 * lane);
}

DEFINE_MATMUL(q6_K, CPU_Q6_K, 6, 32, false, true)
