// The error of the Platform module: what the operating system did not give.

internal import Glibc

/// Why the operating system did not give what was asked for.
package struct PlatformError: Error, Sendable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// The system has no descriptor, thread or memory left now; later it may.
    case scarce
    /// The operating system refused a resource.
    case system
  }

  package var code: Code
  package var message: String

  package init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  /// An error of a system call that does not block, from its error number.
  ///
  /// - Parameters:
  ///   - number: The value of `errno`, or what a pthread function returned.
  ///   - what: What failed: `eventfd failed`.
  init(errorNumber number: CInt, _ what: String) {
    self.init(
      Scarcity.isMeant(by: number) ? .scarce : .system,
      "\(what): \(unsafe String(cString: strerror(number)))"
    )
  }

  package var description: String { "platform.\(code.rawValue): \(message)" }
}

extension PlatformError: ScarcityError {
  package var isScarcity: Bool { code == .scarce }
}
