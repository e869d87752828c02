// The limits of a device's silicon, with which its kernels are compared.

/// Measured rates that no kernel can exceed, except by the noise of the measurement.
package struct MachineLimits: Sendable, Hashable, Codable {
  /// The bandwidth of reading memory that is in no cache.
  package var bytesPerSecond: Double
  /// Multiplications and additions of bytes, each counted as one operation.
  package var integerOperationsPerSecond: Double
  /// Multiplications and additions of f32, each counted as one operation.
  package var floatOperationsPerSecond: Double

  package init(
    bytesPerSecond: Double,
    integerOperationsPerSecond: Double,
    floatOperationsPerSecond: Double
  ) {
    self.bytesPerSecond = bytesPerSecond
    self.integerOperationsPerSecond = integerOperationsPerSecond
    self.floatOperationsPerSecond = floatOperationsPerSecond
  }
}
