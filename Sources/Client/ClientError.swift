// The error of the Client module: why the coordinator refused a request, or why its answer did not
// arrive.

internal import Wire

/// Why a request was not answered, or its answer was cut short.
package struct ClientError: Error, Sendable, CustomStringConvertible {
  package enum Code: String, Sendable, CaseIterable {
    // Reported by the coordinator; these are the codes of `RequestFailureCode`.

    /// The prompt has more tokens than the context holds.
    case tooLong
    /// Too many requests are queued already.
    case busy
    /// The request makes no sense, such as one for a negative number of tokens.
    case invalid
    /// The model has no usable chat template.
    case template
    /// The request, or the rest of its answer, was lost with a worker or on the network.
    case lost
    /// The request was ended before its answer was complete.
    case cancelled
    /// The coordinator is shutting down.
    case shuttingDown
    /// A bug of the coordinator.
    case `internal`
    /// This machine's key lacks the role that the request needs.
    case notAllowed
    /// What the answer must conform to cannot be followed, or allows no token to come next.
    case constraint

    // Noticed on this side.

    /// No process listens at the endpoint.
    case notServed
    /// The coordinator has ended.
    case ended
    /// Timeout: the coordinator has been silent for too long, or has never answered.
    case silent
    /// A message could not be sent or read.
    case connection
    /// The client was closed.
    case closed
  }

  package var code: Code
  /// What is wrong, with the value at fault and what to do.
  ///
  /// Commands print this line unchanged.
  package var message: String
  /// The coordinator's endpoint.
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

  /// Converts an error of the sockets for those who wait for answers, and keeps its text.
  init(_ error: WireError) {
    self.init(.connection, error.description, underlying: error)
  }

  /// Converts the reason why a request cannot be sent: it has more than the protocol carries, which is no
  /// fault of the connection.
  init(unsendable error: WireError) {
    guard error.code == .oversized || error.code == .malformed else {
      self.init(error)
      return
    }
    let place = error.context.isEmpty ? "" : "\(error.context): "
    self.init(.invalid, place + error.message, underlying: error)
  }

  /// Converts the coordinator's message that a request has failed.
  init(_ failure: RequestFailed) {
    self.init(Code(failure.code), failure.message)
  }

  package var description: String {
    let place = context.isEmpty ? "" : " (\(context))"
    return "client.\(code.rawValue): \(message)\(place)"
  }
}

extension ClientError.Code {
  fileprivate init(_ code: RequestFailureCode) {
    self =
      switch code {
      case .tooLong: .tooLong
      case .busy: .busy
      case .invalid: .invalid
      case .template: .template
      case .lost: .lost
      case .cancelled: .cancelled
      case .shuttingDown: .shuttingDown
      case .internal: .internal
      case .notAllowed: .notAllowed
      case .constraint: .constraint
      }
  }
}
