// How long products take on the array, by arithmetic: for plans, which cannot simulate every shape.
//
// Tests hold it against the simulator. Where a number comes from is in docs/SPEED.md, "The XDNA1 NPU, projected".

/// An estimate of a product's time.
package enum ProductTime {
  /// Cycles of the cores for a step of 64 x 64 x 64, locks and stalls included.
  private static let stepCycles = 1_123.0
  /// Cycles of the controller before all columns of a call have begun.
  private static let startCycles = 54_000.0
  /// Cycles after the last step, until all tiles of C have left.
  private static let endCycles = 16_000.0
  /// From the machine's memory to the array, bytes a second.
  private static let readRate = 26e9
  /// Sums share the way back with marks.
  private static let writeRate = 13e9

  /// Returns how long a product takes, without its dispatch.
  ///
  /// - Parameters:
  ///   - shape: The product.
  ///   - clock: Of the array, in Hz.
  /// - Returns: The time in seconds.
  package static func seconds(of shape: ProductShape, clock: Double) -> Double {
    shape.calls.reduce(0) { sum, call in
      let rows = Double(max(call.rows.count, shape.side))
      let steps = Double(call.steps)
      let columns = Double(shape.side * MatrixProduct.columns)
      let depth = steps * Double(MatrixProduct.depth)
      // Each pass multiplies, reads its columns of B and stores its sums, all at once: the slowest counts.
      let pass = max(
        steps * stepCycles / clock,
        max(columns * depth / readRate, 4 * rows * columns / writeRate)
      )
      let before = Double(shape.side * MatrixProduct.rows) * depth / readRate
      return sum + (startCycles + endCycles) / clock + before + Double(call.passes.count) * pass
    }
  }
}
