// What an NPU has done for a process.

internal import NPUArray

/// What has been sent to an NPU since the process began.
package struct NPUStatistics: Sendable, Hashable {
  /// Calls of the driver that begin work: a command or a chain of them each.
  package var dispatches = 0
  /// Products.
  package var commands = 0
  /// Rows of activations, summed over the products.
  package var rows = 0
  /// Bytes of weights that the array has read, of activations, and of sums.
  package var weightBytes = 0
  package var inputBytes = 0
  package var sumBytes = 0
  /// Dispatches that have failed and were done again on a new context.
  package var retries = 0
  /// The time of dispatches and products by arithmetic, where they are projected; 0 otherwise.
  package var projectedSeconds = 0.0

  package init() {}

  /// Counts a product.
  mutating func add(_ shape: ProductShape, rows: Int) {
    commands += 1
    self.rows += rows
    weightBytes += 4 * shape.wordsOfB
    inputBytes += rows * shape.pitchOfA
    sumBytes += 4 * shape.wordsOfC
  }
}
