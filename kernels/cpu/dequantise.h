// Stored weights to f32, for the few rows a lookup needs. Block layouts are drawn in the
// matmul_*_i8.h files.

static INLINE float half_value(const uint8_t *p) {
  uint16_t bits;
  memcpy(&bits, p, sizeof bits);
  return half_to_float(bits);
}

static INLINE void dequantise_float(cpu_type type, const uint8_t *p, int64_t count,
                                    float *values) {
  for (int64_t i = 0; i < count; i++) {
    uint16_t bits;
    switch (type) {
      case CPU_F32:
        memcpy(&values[i], p + 4 * i, sizeof values[i]);
        break;
      case CPU_F16:
        values[i] = half_value(p + 2 * i);
        break;
      default:
        memcpy(&bits, p + 2 * i, sizeof bits);
        uint32_t wide = (uint32_t)bits << 16;
        memcpy(&values[i], &wide, sizeof wide);
    }
  }
}

// q4_0, q4_1, q5_0, q5_1: scale, perhaps a minimum, perhaps 32 high bits, 16 bytes of nibbles.
static INLINE void dequantise_nibbles(const uint8_t *block, bool has_minimum, bool has_high_bits,
                                      float *values) {
  float scale = half_value(block);
  float minimum = has_minimum ? half_value(block + 2) : (has_high_bits ? -16 : -8) * scale;
  const uint8_t *p = block + (has_minimum ? 4 : 2);
  uint32_t high = 0;
  if (has_high_bits) memcpy(&high, p, sizeof high);
  const uint8_t *nibbles = p + (has_high_bits ? 4 : 0);
  for (int i = 0; i < 16; i++) {
    uint32_t low = (nibbles[i] & 15u) | ((high >> i) & 1) << 4;
    uint32_t top = (uint32_t)nibbles[i] >> 4 | ((high >> (i + 16)) & 1) << 4;
    values[i] = (float)low * scale + minimum;
    values[i + 16] = (float)top * scale + minimum;
  }
}

static INLINE void dequantise_q8_0(const uint8_t *block, float *values) {
  float scale = half_value(block);
  for (int i = 0; i < 32; i++) values[i] = (float)(int8_t)block[2 + i] * scale;
}

// q4_K, q5_K: 256 weights in eight sub-blocks with 6-bit scales and minima.
static INLINE void dequantise_six_bit(const uint8_t *block, bool has_high_bits, float *values) {
  float scale = half_value(block);
  float minimum = half_value(block + 2);
  const uint8_t *packed = block + 4;
  const uint8_t *high = block + 16;
  const uint8_t *nibbles = block + (has_high_bits ? 48 : 16);
  for (int sub = 0; sub < 8; sub++) {
    int s = sub < 4 ? packed[sub] & 63 : (packed[sub + 4] & 15) | (packed[sub - 4] >> 6) << 4;
    int m = sub < 4 ? packed[sub + 4] & 63 : packed[sub + 4] >> 4 | (packed[sub] >> 6) << 4;
    float step = scale * (float)s;
    float offset = minimum * (float)m;
    for (int i = 0; i < 32; i++) {
      int byte = nibbles[sub / 2 * 32 + i];
      int quant = sub % 2 == 0 ? byte & 15 : byte >> 4;
      if (has_high_bits) quant |= ((high[i] >> sub) & 1) << 4;
      values[sub * 32 + i] = (float)quant * step - offset;
    }
  }
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

// Two halves of 128 weights: weight 32g + l of one stands in bits 2g of its byte l.
static INLINE int pair_at(const uint8_t *pairs, int i) {
  return pairs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

static INLINE void dequantise_q2_K(const uint8_t *block, float *values) {
  float scale = half_value(block + 80);
  float minimum = half_value(block + 82);
  for (int i = 0; i < 256; i++) {
    float step = scale * (float)(block[i / 16] & 15);
    float offset = minimum * (float)(block[i / 16] >> 4);
    values[i] = (float)pair_at(block + 16, i) * step - offset;
  }
}

static INLINE void dequantise_q3_K(const uint8_t *block, float *values) {
  float scale = half_value(block + 108);
  for (int i = 0; i < 256; i++) {
    int sub = i / 16;
    int low = sub < 8 ? block[96 + sub] & 15 : block[96 + sub % 8] >> 4;
    int s = low | (block[104 + sub % 4] >> (sub / 4 * 2) & 3) << 4;
    int quant = pair_at(block + 32, i) | (block[i % 32] >> (i / 32) & 1) << 2;
    float step = scale * (float)(s - 32);
    values[i] = step * (float)(quant - 4);
  }
}

// kvalues_iq4nl of ggml-common.h.
static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};

static INLINE void dequantise_iq4(const uint8_t *nibbles, float step, float *values) {
  for (int i = 0; i < 16; i++) {
    values[i] = step * (float)iq4_values[nibbles[i] & 15];
    values[i + 16] = step * (float)iq4_values[nibbles[i] >> 4];
  }
}

static INLINE void dequantise_iq4_xs(const uint8_t *block, float *values) {
  float scale = half_value(block);
  int high = block[2] | block[3] << 8;
  for (int sub = 0; sub < 8; sub++) {
    int low = block[4 + sub / 2] >> (sub % 2 * 4) & 15;
    int s = low | (high >> (2 * sub) & 3) << 4;
    dequantise_iq4(block + 8 + 16 * sub, scale * (float)(s - 32), values + 32 * sub);
  }
}

static void dequantise(cpu_type type, const uint8_t *p, int64_t count, float *values) {
  switch (type) {
    case CPU_F32:
    case CPU_F16:
    case CPU_BF16:
      dequantise_float(type, p, count, values);
      return;
    case CPU_Q4_0:
      for (; count > 0; count -= 32, p += 18, values += 32) {
        dequantise_nibbles(p, false, false, values);
      }
      return;
    case CPU_Q4_1:
      for (; count > 0; count -= 32, p += 20, values += 32) {
        dequantise_nibbles(p, true, false, values);
      }
      return;
    case CPU_Q5_0:
      for (; count > 0; count -= 32, p += 22, values += 32) {
        dequantise_nibbles(p, false, true, values);
      }
      return;
    case CPU_Q5_1:
      for (; count > 0; count -= 32, p += 24, values += 32) {
        dequantise_nibbles(p, true, true, values);
      }
      return;
    case CPU_Q8_0:
      for (; count > 0; count -= 32, p += 34, values += 32) dequantise_q8_0(p, values);
      return;
    case CPU_Q2_K:
      for (; count > 0; count -= 256, p += 84, values += 256) dequantise_q2_K(p, values);
      return;
    case CPU_Q3_K:
      for (; count > 0; count -= 256, p += 110, values += 256) dequantise_q3_K(p, values);
      return;
    case CPU_Q4_K:
      for (; count > 0; count -= 256, p += 144, values += 256) {
        dequantise_six_bit(p, false, values);
      }
      return;
    case CPU_Q5_K:
      for (; count > 0; count -= 256, p += 176, values += 256) {
        dequantise_six_bit(p, true, values);
      }
      return;
    case CPU_Q6_K:
      for (; count > 0; count -= 256, p += 210, values += 256) dequantise_q6_K(p, values);
      return;
    case CPU_IQ4_NL:
      for (; count > 0; count -= 32, p += 18, values += 32) {
        dequantise_iq4(p + 2, half_value(p), values);
      }
      return;
    case CPU_IQ4_XS:
      for (; count > 0; count -= 256, p += 136, values += 256) dequantise_iq4_xs(p, values);
      return;
    case CPU_TYPE_COUNT:
      return;
  }
}
