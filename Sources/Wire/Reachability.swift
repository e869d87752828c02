// Checks that a peer can be reached before anything depends on it: messages to a socket that never
// connects are queued and lost. The check makes a whole connection, keys included, and sends no
// message.

internal import CZeroMQ
internal import Glibc
package import Platform

/// Connects to peers only to see whether they can be reached.
package enum Reachability {
  /// The timeout is long enough for a round trip to the other side of the earth, some lost packets,
  /// and a peer that learns of our key a moment later than we learn of its address.
  package static let patience = Duration.seconds(5)
  private static let pause = Duration.milliseconds(50)

  /// Waits until a connection to a peer is established, and closes it.
  ///
  /// - Parameters:
  ///   - address: Where the peer listens.
  ///   - context: The context in which the sockets for the check are made and closed.
  ///   - security: How this process connects to others.
  ///   - patience: How long to try.
  ///   - check: Called every 50 ms or so; what it throws ends the wait.
  /// - Throws: `WireError` with code `unreachable` that says what is wrong, or what `check` throws.
  package static func require(
    _ address: PeerAddress,
    in context: ZeroMQContext,
    _ security: Security,
    within patience: Duration = patience,
    check: () throws -> Void = {}
  ) throws {
    let socket = try Socket(
      context,
      role: .dealer,
      options: security.options(.data, connectingTo: address)
    )
    defer { socket.close() }
    let name = "trestle.reach.\(UInt64.random(in: .min ... .max))"
    let events = try Socket(context, role: .pair)
    defer { events.close() }
    try socket.report(
      ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_CONNECTED,
      to: name
    )
    try events.connect(inProcess: name)
    try socket.connect(address.endpoint)
    let deadline = ContinuousClock.now + patience
    var hasConnected = false
    while ContinuousClock.now < deadline {
      try check()
      _ = try poll(sockets: [events], timeout: pause)
      while let frames = try events.receiveFrames(atMost: 2) {
        guard let event = MonitorEvent(frames) else { continue }
        if event.number == ZMQ_EVENT_HANDSHAKE_SUCCEEDED { return }
        hasConnected = true
      }
    }
    let reason =
      hasConnected
      ? "a peer answers, but it does not know this machine's key, or its key is not the expected one"
      : Self.reason(address.endpoint)
    throw WireError(.unreachable, "cannot reach \(address.endpoint): \(reason)")
  }

  /// Returns what the system says about a plain connection to the endpoint.
  private static func reason(_ endpoint: Endpoint) -> String {
    guard case .tcp(let host, let port?) = endpoint.kind else {
      return "no process listens there"
    }
    var hints = unsafe addrinfo()
    unsafe hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
    unsafe hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
    var list: UnsafeMutablePointer<addrinfo>?
    let bare = endpoint.isIPv6 ? String(host.dropFirst().dropLast()) : host
    guard unsafe getaddrinfo(bare, "\(port)", &hints, &list) == 0, let info = unsafe list?.pointee
    else { return "this is not a valid address" }
    defer { unsafe freeaddrinfo(list) }
    // The SOCK_ flags have the values of the O_ flags.
    let descriptor = unsafe socket(info.ai_family, info.ai_socktype | O_NONBLOCK | O_CLOEXEC, 0)
    guard descriptor >= 0 else { return systemMessage(errno) }
    defer { close(descriptor) }
    if unsafe connect(descriptor, info.ai_addr, info.ai_addrlen) != 0, errno != EINPROGRESS {
      return systemMessage(errno)
    }
    var item = pollfd(fd: descriptor, events: CShort(POLLOUT), revents: 0)
    guard unsafe Glibc.poll(&item, 1, 500) > 0 else {
      return "no answer (timeout); is there a firewall between, or is its machine asleep?"
    }
    var (code, size) = (CInt(0), socklen_t(MemoryLayout<CInt>.size))
    unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
    switch code {
    case 0: return "the process that listens there is not a Trestle worker"
    case ECONNREFUSED: return "connection refused: seen from this machine, no process listens there"
    default: return systemMessage(code)
    }
  }
}

/// An event of zmq_socket_monitor(3).
///
/// "The first frame contains an event number (16 bits), and an event value (32 bits) [...] The second
/// frame contains a string that specifies the affected endpoint".
struct MonitorEvent {
  var number: CInt
  var value: CInt

  init?(_ frames: [[UInt8]]) {
    guard frames.count == 2, frames[0].count == 6 else { return nil }
    number = CInt(frames[0][0]) | CInt(frames[0][1]) << 8
    value = CInt(bitPattern: frames[0][2...].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
  }
}

/// Checks on a thread of its own whether a peer can be reached.
package final class ReachabilityCheck {
  private struct Cancelled: Error {}

  private let isCancelled: Lock<Bool>
  private let isDone: Lock<Bool>
  private let thread: Thread

  /// - Parameters:
  ///   - address: Where the peer listens.
  ///   - context: Must stay open until `end` was called.
  ///   - security: How this process connects to others.
  ///   - onFailure: Receives the reason in words, on that thread, if the peer cannot be reached.
  /// - Throws: `PlatformError` if the process has no thread left.
  package init(
    _ address: PeerAddress,
    in context: ZeroMQContext,
    _ security: Security,
    onFailure: @escaping @Sendable (String) -> Void
  ) throws(PlatformError) {
    let (isCancelled, isDone) = (Lock(false), Lock(false))
    self.isCancelled = isCancelled
    self.isDone = isDone
    thread = try Thread {
      defer { isDone.withLock { $0 = true } }
      do {
        try Reachability.require(address, in: context, security) {
          if isCancelled.withLock({ $0 }) { throw Cancelled() }
        }
      } catch {
        if !(error is Cancelled) { onFailure("\(error)") }
      }
    }
  }

  /// Ends the check, without waiting, if it has its result; returns whether it had.
  package func endIfDone() -> Bool {
    guard isDone.withLock({ $0 }) else { return false }
    thread.join()
    return true
  }

  /// Cancels the check and waits for its thread.
  package func end() {
    isCancelled.withLock { $0 = true }
    thread.join()
  }
}
