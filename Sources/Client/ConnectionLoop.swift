// The shell of a client's connection: one thread that owns the socket, passes events to the
// machine, and performs the actions that the machine returns.

internal import Platform
internal import Wire

/// How to connect to a coordinator.
struct ConnectionOptions: Sendable {
  var endpoint: Endpoint
  var socket: SocketOptions
  /// How long the coordinator may be silent while somebody waits.
  var timeout: Duration
  /// What may be wrong with the keys if no answer ever comes.
  var advice: String
  /// Called on the connection's thread with what users want to know.
  var onNews: @Sendable (ClientNews) -> Void
}

/// Serves the requests of one connection.
struct ConnectionLoop {
  private let options: ConnectionOptions
  private let shared: Connection.Shared
  private var machine: ConnectionMachine
  private var inboxes: [UInt64: any AnyInbox] = [:]
  private var clock = AwakeClock(now: .now)

  /// The longest sleep while requests are open, and so the most by which a timeout is noticed late.
  private static let longestSleep = Duration.milliseconds(500)

  init(_ options: ConnectionOptions, _ shared: Connection.Shared) {
    self.options = options
    self.shared = shared
    machine = ConnectionMachine(
      endpoint: options.endpoint,
      timeout: options.timeout,
      advice: options.advice,
      now: .now
    )
  }

  /// Serves until the client is closed or the socket fails.
  mutating func run(in context: ZeroMQContext) {
    var end = ClientError(.closed, "the client was closed")
    do throws(WireError) {
      let socket = try Socket(context, role: .dealer, options: options.socket)
      defer { socket.close() }
      try socket.connect(options.endpoint)
      while try turn(socket) {}
      handle(.close)
      try send(socket)
    } catch {
      end = ClientError(error)
      handle(.failed(error))
    }
    shared.end(end)
    context.close()
  }

  /// Waits for an event and handles it; returns false when the client is closed.
  private mutating func turn(_ socket: Socket) throws(WireError) -> Bool {
    _ = try poll(
      sockets: [socket],
      descriptors: [shared.commands.descriptor],
      writable: machine.hasSentAll ? [] : [socket],
      timeout: machine.isWaiting ? Self.longestSleep : nil
    )
    var isClosed = false
    for command in shared.commands.takeAll() {
      // Requests behind the close in the same batch have begun, too, and must be ended.
      if case .close = command { isClosed = true } else { perform(command) }
    }
    guard !isClosed else { return false }
    // Bounded, so that commands are read under any load.
    for _ in 0..<1024 {
      guard let received = try socket.receive() else { break }
      switch received.content {
      case .success(let (message, payloads)): handle(.received(message, payloads: payloads))
      // Nobody can say which request this message belonged to, so all of them fail.
      case .failure(let error): handle(.failed(error))
      }
    }
    handle(.tick)
    try send(socket)
    return true
  }

  /// Performs the command of a task.
  private mutating func perform(_ command: ConnectionCommand) {
    switch command {
    case .begin(let request, let message, let inbox):
      inboxes[request] = inbox
      handle(.begin(request, message))
    case .cancel(let request): handle(.cancel(request))
    case .abandon(let request):
      inboxes[request] = nil
      handle(.abandon(request))
    case .read(let serial): handle(.read(serial: serial, isLate: true))
    case .close: preconditionFailure("only the loop itself closes the connection")
    }
  }

  private mutating func handle(_ event: ConnectionEvent) {
    for action in machine.handle(event, at: clock.read(.now)) { perform(action) }
  }

  private mutating func perform(_ action: ConnectionAction) {
    switch action {
    case .deliver(let request, let message, let payloads, let serial):
      let counts = inboxes[request]?.deliver(message, payloads, serial: serial) ?? true
      if counts, let serial { handle(.read(serial: serial, isLate: false)) }
    case .finish(let request, let error):
      inboxes.removeValue(forKey: request)?.finish(error)
    case .probe: probe()
    case .tell(let news): options.onNews(news)
    }
  }

  /// Checks whether a process listens at the endpoint, as far as this machine can tell.
  private mutating func probe() {
    do throws(WireError) {
      if try !options.endpoint.isListening() { handle(.absent) }
    } catch {
      handle(.failed(error))
    }
  }

  /// Sends messages until the socket accepts no more (backpressure).
  private mutating func send(_ socket: Socket) throws(WireError) {
    while let message = machine.nextMessage {
      do throws(WireError) {
        guard try socket.send(message) == .sent else { return }
        machine.sent()
      } catch {
        // Either the socket is closed, or this message is malformed and can never be sent.
        guard error.code != .closed else { throw error }
        for action in machine.notSent(error) { perform(action) }
      }
    }
  }
}
