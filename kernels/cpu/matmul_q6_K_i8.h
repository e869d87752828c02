// q6_K: 210 bytes for 256 weights, w = (q - 32) · scale · s, one s for 16 weights.
//
//   [128 bytes of nibbles][64 bytes of high pairs][16 int8 s][scale f16]
//
// There are two parts of 128 weights. Weight 32g + l of part h (g < 4, l < 32) has its nibble in byte
// 64h + 32(g mod 2) + l, low for g < 2, and its high pair in bits 2g of pair byte 32h + l.
//
// Packed, for each 32 columns: bytes [2 scales, row], 4 words of nibbles, 2 of high pairs.

// The bytes of 32 columns.
enum { Q6_K_UNIT_BYTES = 2 * TILE_ROWS + 6 * 64 };

// Rearranges the sixteen scales of each of sixteen rows, from words of four to two for each 32
// columns.
static INLINE void deal_scales(const uint8_t *from, uint8_t *to) {
  for (int index = 0; index < 16; index++) {
    uint8_t *scales = to + index / 2 * Q6_K_UNIT_BYTES + index % 2 * TILE_ROWS;
    for (int row = 0; row < TILE_ROWS; row++) {
      scales[row] = from[64 * (index / 4) + 4 * row + index % 4];
    }
  }
}

static INLINE void deal_q6_K(const uint8_t *turned, uint8_t *packed) {
  deal_scales(turned + 64 * 48, packed);
  for (int lane = 0; lane < TILE_ROWS; lane += TILE) {
    const uint8_t *from = turned + 4 * lane;
    uint8_t *to = packed + 4 * lane;
    for (int sub = 0; sub < 8; sub++) {
      int part = sub / 4, group = sub % 4;
      uint8_t *own = to + Q6_K_UNIT_BYTES * sub + 2 * TILE_ROWS;
      deal_nibbles(from + 64 * (16 * part + 8 * (group % 2)), group / 2 * 4, own);
      deal_pairs(from + 64 * (32 + 8 * part), 2 * group, own + 64 * 4);
    }
  }
}

DEFINE_DEALT_LAYOUT(q6_K, 1, 208, 52, 0)

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

static INLINE void dequantise_q6_K(const uint8_t *block, float *values) {
  float scale = half_value(block + 208);
  for (int i = 0; i < 256; i++) {
    int part = i / 128, group = i % 128 / 32, lane = i % 32;
    int low = block[part * 64 + group % 2 * 32 + lane];
    int high = block[128 + part * 32 + lane] >> (2 * group) & 3;
    int quant = (group < 2 ? low & 15 : low >> 4) | high << 4;
    float step = scale * (float)(int8_t)block[192 + i / 16];
    values[i] = step * (float)(quant - 32);
  }
}

DEFINE_MATMUL(q6_K, 6, 32, false, true)
