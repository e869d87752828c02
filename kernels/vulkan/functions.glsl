// Functions whose built-in versions are too inexact, or overflow, on some devices.

// tanh: the quotient loses its digits near 0, where the series is exact.
float hyperbolic_tangent(float x) {
  float x2 = x * x;
  if (x2 < 4e-4) return x * (1.0 - x2 * (1.0 / 3.0 - x2 * (2.0 / 15.0)));
  return 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
}

// 0.5 x (1 + tanh(u)) = x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
float gelu(float x) {
  float u = 0.7978845608028654 * x * (1.0 + 0.044715 * x * x);
  return x / (1.0 + exp(-2.0 * u));
}
