// The error of the Coordinator module.

/// Why the coordinator cannot start or go on.
package struct CoordinatorError: Error, Sendable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// The split or the devices do not fit the model.
    case placement
    /// The endpoint is taken, or its directory cannot be used.
    case endpoint
    /// A worker could not be started, prepared or kept.
    case worker
    /// A file of device profiles is malformed, or lacks data that is needed.
    case profile
    /// The system has no descriptor, process or memory left now; later it may.
    case scarce
    /// The operating system refused something.
    case system
  }

  /// What to do where the devices have too little memory for a placement.
  static let memoryAdvice =
    "give fewer sessions (--slots), a shorter context (--context) or a smaller type of caches (--kv-cache)"

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
    return "coordinator.\(code.rawValue): \(message)\(place)\(cause)"
  }
}
