// The error of the Client module: what the coordinator refuses, and what keeps its answers from coming.

internal import Wire

/// Why a request was not served, or not to its end.
package struct ClientError: Error, Sendable, CustomStringConvertible {
  package enum Code: String, Sendable, CaseIterable {
    // What the coordinator says, by the codes of `RequestFailureCode`.

    /// The prompt has more tokens than the context holds.
    case tooLong
    /// Too many requests wait.
    case busy
    /// The request is absurd.
    case invalid
    /// The model has no usable chat template.
    case template
    /// The request, or the end of its answer, was lost with a worker or on the way.
    case lost
    /// The request was ended before its answer was complete.
    case cancelled
    /// The coordinator is ending.
    case shuttingDown
    /// A fault of the coordinator.
    case `internal`
    /// This machine's key may not ask for it.
    case notAllowed

    // What this side notices.

    /// Nobody listens at the endpoint.
    case notServed
    /// The coordinator is not there any more.
    case ended
    /// The coordinator is silent, or has never answered.
    case silent
    /// A message could not be sent or read.
    case connection
    /// The client was closed.
    case closed
  }

  package var code: Code
  /// What is wrong, with the value at fault and what to do: a line that commands print as it is.
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

  /// What a failure of the sockets means for who waits for an answer; its words are the failure's.
  init(_ error: WireError) {
    self.init(.connection, error.description, underlying: error)
  }

  /// The coordinator's word that a request is not served.
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
      }
  }
}
