// How quants and codes are laid out in a block. Quants are unsigned, one a byte.

// 32 quants: byte i has the low four bits of quant i low and of quant i + 16 high.
static INLINE void put_nibbles(const uint8_t *quants, uint8_t *p) {
  for (int i = 0; i < 16; i++) p[i] = (uint8_t)((quants[i] & 15) | quants[i + 16] << 4);
}

// 32 quants: bit i is bit 4 of quant i.
static INLINE void put_high_bits(const uint8_t *quants, uint8_t *p) {
  uint32_t bits = 0;
  for (int i = 0; i < 32; i++) bits |= (uint32_t)(quants[i] >> 4 & 1) << i;
  memcpy(p, &bits, sizeof bits);
}

// 256 quants, in runs of 64: byte i of a run has the low four bits of quant i low and of quant
// i + 32 high.
static INLINE void put_wide_nibbles(const uint8_t *quants, uint8_t *p) {
  for (int run = 0; run < 4; run++) {
    for (int i = 0; i < 32; i++) {
      p[32 * run + i] = (uint8_t)((quants[64 * run + i] & 15) | quants[64 * run + i + 32] << 4);
    }
  }
}

// 256 quants, in halves of 128: bits 2g and 2g + 1 of byte i of a half are bits `shift` and
// `shift` + 1 of its quant 32g + i.
static INLINE void put_pairs(const uint8_t *quants, int shift, uint8_t *p) {
  for (int half = 0; half < 2; half++) {
    for (int i = 0; i < 32; i++) {
      const uint8_t *q = quants + 128 * half + i;
      uint32_t pairs = 0;
      for (int g = 0; g < 4; g++) pairs |= (uint32_t)(q[32 * g] >> shift & 3) << (2 * g);
      p[32 * half + i] = (uint8_t)pairs;
    }
  }
}

// 256 quants: bit j of byte i is bit `shift` of quant 32j + i.
static INLINE void put_bit_planes(const uint8_t *quants, int shift, uint8_t *p) {
  for (int i = 0; i < 32; i++) {
    uint32_t bits = 0;
    for (int j = 0; j < 8; j++) bits |= (uint32_t)(quants[32 * j + i] >> shift & 1) << j;
    p[i] = (uint8_t)bits;
  }
}

// Eight six-bit scales s and minima m in 12 bytes b: sub-blocks j < 4 have s in the low six bits of
// b[j], m in those of b[j + 4]; sub-blocks j >= 4 have the low four bits of s and m in b[j + 4],
// the upper two in the top bits of b[j - 4] (s) and b[j] (m).
static INLINE void put_six_bit_pairs(const float *scales, const float *minima, uint8_t *b) {
  for (int j = 0; j < 4; j++) {
    int s = (int)scales[j], m = (int)minima[j], s4 = (int)scales[j + 4], m4 = (int)minima[j + 4];
    b[j] = (uint8_t)(s | s4 >> 4 << 6);
    b[j + 4] = (uint8_t)(m | m4 >> 4 << 6);
    b[j + 8] = (uint8_t)((s4 & 15) | (m4 & 15) << 4);
  }
}

// Sixteen six-bit scales from -32 in 12 bytes: bytes 0 to 7 have the low four bits of scales 0 to 7
// (low nibble) and 8 to 15 (high), byte 8 + i the upper two of scales i, i + 4, i + 8 and i + 12.
static INLINE void put_six_bit_scales(const float *scales, uint8_t *b) {
  int s[16];
  for (int j = 0; j < 16; j++) s[j] = (int)scales[j] + 32;
  for (int j = 0; j < 8; j++) b[j] = (uint8_t)((s[j] & 15) | (s[j + 8] & 15) << 4);
  for (int j = 0; j < 4; j++) {
    b[8 + j] = (uint8_t)(s[j] >> 4 | s[j + 4] >> 4 << 2 | s[j + 8] >> 4 << 4 | s[j + 12] >> 4 << 6);
  }
}
