// Authentication of peers: a thread that answers libzmq's questions about them (ZAP.swift), and
// receives the events of handshakes that fail before libzmq asks.

internal import CZeroMQ
internal import Glibc
internal import Platform

/// A peer that was not let in.
package struct Refusal: Sendable, Hashable {
  /// What is wrong with the peer, with its key where it has shown one.
  package var reason: String
  /// The peer's address, if known.
  package var address: String
  /// Whether the same refusal was reported not long ago; then it needs no line in a log.
  package var isRepeated: Bool

  package init(reason: String, address: String, isRepeated: Bool) {
    self.reason = reason
    self.address = address
    self.isRepeated = isRepeated
  }
}

/// Decides which peers the CURVE servers of a context let in.
///
/// Shutdown order: first the context's other sockets are closed, then this, then the context. It
/// must be made before its context's CURVE server, of which there is only one.
package final class Authenticator {
  /// The in-process name at which the server's socket reports failed handshakes.
  static let handshakesName = "trestle.handshakes"

  private let context: ZeroMQContext
  private let stop: Mailbox<Void>
  private let thread: Thread
  private let admitted: Lock<Set<PublicKey>>
  private var isClosed = false

  /// Starts the thread that answers.
  ///
  /// - Parameters:
  ///   - context: The context of the sockets to guard.
  ///   - allows: Whether a key may come in, beside those of `admit`. Called on the authenticator's
  ///     thread.
  ///   - eachSecond: Called on that thread, about once a second.
  ///   - onRefusal: Receives each peer that was refused. Called on that thread too.
  /// - Throws: `WireError` if the process has no thread or descriptor left.
  package init(
    _ context: ZeroMQContext,
    allows: @escaping @Sendable (PublicKey) -> Bool,
    eachSecond: @escaping @Sendable () -> Void = {},
    onRefusal: @escaping @Sendable (Refusal) -> Void
  ) throws(WireError) {
    let admitted = Lock<Set<PublicKey>>([])
    let stop = try WireError.converting(Mailbox<Void>.init)
    var options = SocketOptions.control
    options.linger = .zero
    let questions = try Socket(context, role: .reply, options: options)
    try questions.bind(inProcess: ZAP.name)
    let handshakes = try Socket(context, role: .pair, options: options)
    try handshakes.connect(inProcess: Self.handshakesName)
    let desk = Desk(
      questions: questions,
      handshakes: handshakes,
      allows: { key in admitted.withLock { $0.contains(key) } || allows(key) },
      eachSecond: eachSecond,
      onRefusal: onRefusal
    )
    thread = try WireError.converting { () throws(PlatformError) in
      try Thread { desk.serve(until: stop) }
    }
    self.context = context
    self.stop = stop
    self.admitted = admitted
    context.hasAuthenticator = true
  }

  deinit { close() }

  /// Lets these keys in from now on, instead of those of the previous call.
  package func admit(_ keys: [PublicKey]) { admitted.withLock { $0 = Set(keys) } }

  /// Ends the thread.
  ///
  /// The CURVE servers of the context must be closed before.
  package func close() {
    guard !isClosed else { return }
    isClosed = true
    context.hasAuthenticator = false
    stop.post(())
    thread.join()
  }
}

/// The state of the authenticator's thread.
private final class Desk: @unchecked Sendable {
  private let questions: Socket
  private let handshakes: Socket
  private let allows: (PublicKey) -> Bool
  private let eachSecond: () -> Void
  private let onRefusal: (Refusal) -> Void
  /// The last distinct refusals; the oldest is forgotten first.
  private var recent: [Refusal] = []

  /// How many refusals are remembered, to recognise repeated ones.
  private static let memory = 64

  init(
    questions: Socket,
    handshakes: Socket,
    allows: @escaping (PublicKey) -> Bool,
    eachSecond: @escaping () -> Void,
    onRefusal: @escaping (Refusal) -> Void
  ) {
    self.questions = questions
    self.handshakes = handshakes
    self.allows = allows
    self.eachSecond = eachSecond
    self.onRefusal = onRefusal
  }

  func serve(until stop: Mailbox<Void>) {
    defer {
      questions.close()
      handshakes.close()
    }
    var pause = Self.shortestPause
    var last = ContinuousClock.now
    while true {
      if ContinuousClock.now - last >= .seconds(1) {
        last = .now
        eachSecond()
      }
      do {
        let ready = try poll(
          sockets: [questions, handshakes],
          descriptors: [stop.descriptor],
          timeout: .seconds(1)
        )
        if ready.contains(descriptor: stop.descriptor) { return }
        // The bound keeps a flood of questions from delaying the shutdown.
        for _ in 0..<64 where try answerQuestion() || hearOfHandshake() {}
        pause = Self.shortestPause
      } catch {
        // Both sockets belong to this thread alone, so the cause can only be a shortage of the
        // system, such as memory. Peers that connect meanwhile wait: none is let in without an
        // answer.
        report("the authenticator must wait: \(error)", "")
        if !stop.takeAll().isEmpty { return }
        usleep(pause)
        pause = min(2 * pause, Self.longestPause)
      }
    }
  }

  /// Microseconds between two retries during a shortage.
  private static let shortestPause: useconds_t = 1000
  private static let longestPause: useconds_t = 256_000

  /// Answers one question; returns false if none waits.
  private func answerQuestion() throws(WireError) -> Bool {
    guard let frames = try questions.receiveFrames(atMost: ZAP.requestFrames) else { return false }
    let verdict: ZAP.Verdict
    do throws(WireError) {
      let request = try ZAP.request(frames)
      let isAllowed = allows(request.key)
      verdict = isAllowed ? .allowed(request.key) : .unknown
      if !isAllowed { report("unknown key \(request.key)", request.address) }
    } catch {
      verdict = .malformed(error.message)
      report("\(error)", "")
    }
    try questions.send(frames: ZAP.reply(to: frames, verdict))
    return true
  }

  /// Reads one event of zmq_socket_monitor(3); returns false if none waits.
  private func hearOfHandshake() throws(WireError) -> Bool {
    guard let frames = try handshakes.receiveFrames(atMost: 2) else { return false }
    guard let event = MonitorEvent(frames) else { return true }
    report(Self.reason(event.number, event.value), "")
    return true
  }

  /// Returns what a failed handshake says about a peer.
  private static func reason(_ event: CInt, _ value: CInt) -> String {
    // "Unspecified system error during handshake. The event value is an errno."
    if event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL {
      return "broke off the handshake (\(ZeroMQ.reason(value)))"
    }
    switch value {
    case ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: return "speaks without encryption"
    case ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC: return "has another key for this server"
    default: return "breaks the handshake's rules (0x\(String(value, radix: 16)))"
    }
  }

  private func report(_ reason: String, _ address: String) {
    var refusal = Refusal(reason: reason, address: address, isRepeated: false)
    if recent.contains(refusal) {
      refusal.isRepeated = true
    } else {
      recent.append(refusal)
      if recent.count > Self.memory { recent.removeFirst() }
    }
    onRefusal(refusal)
  }
}
