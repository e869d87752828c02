// The error of the Launch module, and the error of a wait that the user has interrupted.

/// Why devices cannot be used, or a placement or a pipeline cannot be made.
package struct LaunchError: Error, Sendable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// A device that is unknown, or that this program has no backend for.
    case device
    /// Settings that contradict each other, or do not fit the model or the machine.
    case settings
    /// A device or a link could not be measured.
    case measurement
    /// A profile that cannot be read or is for something else.
    case profile
    /// The system refused a directory.
    case system
  }

  package var code: Code
  /// What is wrong, with the value at fault and what to do.
  ///
  /// Commands print this line unchanged.
  package var message: String
  /// The file or device concerned.
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
    return "launch.\(code.rawValue): \(message)\(place)\(cause)"
  }
}

/// The user has interrupted a wait.
package struct Interrupted: Error, CustomStringConvertible {
  package var description: String { "interrupted" }

  package init() {}
}
