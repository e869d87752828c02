// The error of the Wire module: endpoints, sockets and what arrives through them.

package import Platform

/// Why bytes could not be exchanged or decoded.
package struct WireError: Error, Sendable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// The socket or its context is closed.
    case closed
    /// Fewer bytes than the format needs.
    case truncated
    /// More bytes or elements than `Limits` allows.
    case oversized
    /// Bytes that are not a message, or a field whose value makes no sense.
    case malformed
    /// A message of another version of the protocol.
    case version
    /// Nobody answers at the endpoint.
    case unreachable
    /// An endpoint that is misspelled or cannot be used.
    case endpoint
    /// An endpoint that another process serves.
    case addressInUse
    /// A key that is misspelled, missing, or kept where others can read it.
    case key
    /// The system has no descriptor, thread or memory left now; a retry later may succeed.
    case scarce
    /// The operating system refused a resource.
    case system
    /// A ZeroMQ call failed for another reason.
    case zeromq
  }

  package var code: Code
  package var message: String
  /// The endpoint, the message or its field at fault.
  package var context: String
  package var underlying: (any Error)?
  /// The client's number of the request at fault; nil if no request is.
  package var request: UInt64?

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
    return "wire.\(code.rawValue): \(message)\(place)\(cause)"
  }
}

extension WireError: ScarcityError {
  package var isScarcity: Bool { code == .scarce }
}

extension WireError {
  /// What the system did not give, as an error of this module.
  package init(_ error: PlatformError) {
    self.init(error.code == .scarce ? .scarce : .system, error.message)
  }

  /// Runs `body` and converts an error of Platform into one of this module.
  package static func converting<Value>(
    _ body: () throws(PlatformError) -> Value
  ) throws(WireError) -> Value {
    do throws(PlatformError) { return try body() } catch {
      throw WireError(error)
    }
  }
}
