// What can go wrong between a process and the NPU, sorted by what can be done about it.

/// Why the NPU cannot be used, or has failed.
package struct NPUDriverError: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Code: Sendable, Hashable {
    /// There is no such device here, or no driver for it.
    case absent
    /// This user may not use it.
    case permission
    /// The device or its driver is of a kind that Trestle does not know.
    case unsupported
    /// The driver does not take a request that it should take.
    case refused
    /// The driver has no memory or no room left.
    case exhausted
    /// A command has not ended in time.
    case timeout
    /// A command has ended in another state than COMPLETED.
    case failed
    /// The device is gone.
    case lost
  }

  package var code: Code
  /// What is wrong, with the value at fault.
  package var message: String

  package init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  package var description: String { message }
}
