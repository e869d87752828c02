// A client's connection as tasks see it: a mailbox to the thread that owns the socket.

internal import Platform
internal import Wire

/// A command that a task posts to the connection's thread.
enum ConnectionCommand: Sendable {
  case begin(UInt64, Message, any AnyInbox)
  case cancel(UInt64)
  case abandon(UInt64)
  case read(UInt64)
  case close
}

/// A connection to a coordinator, and the thread that serves it.
///
/// Each request posts one command when it begins, one or two when it ends, and one for each message
/// that its reader has kept waiting. So the number of requests bounds the mailbox.
final class Connection: Sendable {
  /// The state that both sides of the mailbox share.
  final class Shared: Sendable {
    private struct State: Sendable {
      var nextRequest: UInt64 = 1
      /// Why no more requests are accepted; nil while they are.
      var end: ClientError?
    }

    let commands: Mailbox<ConnectionCommand>
    private let state = Lock(State())

    init() throws(PlatformError) { commands = try Mailbox() }

    /// Posts a request, or ends it at once if the thread has ended.
    func begin(_ message: (UInt64) -> Message, _ inbox: any AnyInbox) -> UInt64 {
      let (request, end) = state.withLock { state in
        let request = state.nextRequest
        state.nextRequest += 1
        // Posted under the lock, so that `end` finds every request that was posted before it.
        if state.end == nil { commands.post(.begin(request, message(request), inbox)) }
        return (request, state.end)
      }
      if let end { inbox.finish(end) }
      return request
    }

    /// Refuses further requests, and ends those that the thread has not taken from the mailbox.
    func end(_ error: ClientError) {
      state.withLock { $0.end = $0.end ?? error }
      for case .begin(_, _, let inbox) in commands.takeAll() { inbox.finish(error) }
    }
  }

  private let shared: Shared
  private let thread: Lock<Platform.Thread?>

  /// - Throws: `WireError` if the system has no thread or descriptor left.
  init(_ options: ConnectionOptions) throws(WireError) {
    let shared = try WireError.converting(Shared.init)
    let context = try ZeroMQContext()
    self.shared = shared
    thread = Lock(
      try WireError.converting { () throws(PlatformError) in
        try Platform.Thread {
          // The socket is made on the thread that it belongs to.
          var loop = ConnectionLoop(options, shared)
          loop.run(in: context)
        }
      }
    )
  }

  deinit { close() }

  /// Ends all requests and disconnects.
  ///
  /// Waits until the messages sent have left, for a quarter of a second at most.
  func close() {
    let thread = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    guard let thread else { return }
    post(.close)
    thread.join()
  }

  func post(_ command: ConnectionCommand) { shared.commands.post(command) }

  /// Begins a request; `message` is given its number.
  func begin<Element: Sendable>(
    _ reading: Inbox<Element>.Reading,
    _ message: (UInt64) -> Message
  ) -> RequestStream<Element> {
    let inbox = Inbox(reading)
    return RequestStream(shared.begin(message, inbox), inbox, self)
  }
}
