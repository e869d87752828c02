// The error of the Launch module, and how a wait ends that the user has interrupted.

/// Why devices, a placement or a pipeline cannot be had.
package struct LaunchError: Error, Sendable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// A device that is misspelled, or that this program has no backend for.
    case device
    /// Settings that do not fit one another, the model or the machine.
    case settings
    /// A device or a link could not be measured.
    case measurement
    /// A profile that cannot be read or does not belong here.
    case profile
    /// The system refused a directory.
    case system
  }

  package var code: Code
  /// What is wrong, with the value at fault and what to do: a line that commands print as it is.
  package var message: String
  /// The file or device.
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

/// The user asked for the end of what was waited for.
package struct Interrupted: Error, CustomStringConvertible {
  package var description: String { "interrupted" }

  package init() {}
}
