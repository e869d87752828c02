// The error of the Worker module.

/// Why a worker cannot start, or cannot go on.
package struct WorkerError: Error, Sendable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// The coordinator does not answer.
    case unreachable
    /// The coordinator refused this worker.
    case refused
    /// A step that does not fit the stage.
    case step
    /// The stage could not be prepared.
    case prepare
    /// The next stage cannot be reached.
    case handOff
    /// The device failed or is gone.
    case device
    /// A thread or descriptor could not be made.
    case system
    /// Weights could not be pulled or stored.
    case weights
    /// The worker was asked to stop.
    case stopped
  }

  package var code: Code
  package var message: String
  package var context: String
  package var underlying: (any Error)?

  package init(
    _ code: Code,
    _ message: String,
    context: String = "",
    underlying: (any Error)? = nil
  ) {
    self.code = code
    self.message = message
    self.context = context
    self.underlying = underlying
  }

  package var description: String {
    let place = context.isEmpty ? "" : " (\(context))"
    let cause = underlying.map { ": \($0)" } ?? ""
    return "worker.\(code.rawValue): \(message)\(place)\(cause)"
  }
}
