// The factor that brings values with this mean square to the root mean square `target`.
float matching_factor(float mean_square, float target) {
  return target * inversesqrt(max(mean_square, 1e-5));
}
