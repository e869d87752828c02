// The error of the Platform module: a resource that the operating system did not give.

internal import Glibc

/// Why the operating system did not give a resource.
package struct PlatformError: Error, Sendable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// The system has no descriptor, thread or memory left now; a retry later may succeed.
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

  /// Makes the error of a failed system call that does not block, from its error number.
  ///
  /// - Parameters:
  ///   - number: The value of `errno`, or what a pthread function returned.
  ///   - what: What failed, as in `eventfd failed`.
  init(errorNumber number: CInt, _ what: String) {
    self.init(
      Scarcity.isMeant(by: number) ? .scarce : .system,
      "\(what): \(systemMessage(number))"
    )
  }

  package var description: String { "platform.\(code.rawValue): \(message)" }
}

extension PlatformError: ScarcityError {
  package var isScarcity: Bool { code == .scarce }
}
