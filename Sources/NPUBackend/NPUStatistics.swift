// What an NPU has done for a process.

/// What has been sent to an NPU since the process began.
package struct NPUStatistics: Sendable, Hashable, Encodable {
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

  package init() {}
}
