// A client of a coordinator: sends requests, takes answers, notices when nobody is there.

import Launch
import Wire

/// A connection to a coordinator.
final class Client {
  private let endpoint: Endpoint
  private let context: ZeroMQContext
  private let socket: Socket
  private let security: Security
  /// A descriptor that ends every wait when it is readable; nil for none.
  private let interrupt: CInt?
  private var nextRequest: UInt64 = 1
  private var hasHeard = false
  private var clock = AwakeClock(now: .now)
  /// When the coordinator was last asked whether it is there, or something came that was waited for.
  private var asked = ContinuousClock.now
  /// Requests whose last message has not come.
  private var awaited: Set<UInt64> = []
  /// Sessions' requests whose last message has come.
  private var ended: Set<UInt64> = []
  /// Messages and bytes of sessions that have come since the coordinator was last told.
  private var unacknowledged = (messages: 0, bytes: 0, proof: UInt64(0))
  /// Told how the workers are, now and then, while an answer is awaited.
  var onHealth: ((HealthReply) -> Void)?

  /// After so many messages or bytes the coordinator is told that they have come: a quarter of what it
  /// sends before it waits.
  private static let receiptMessages = 64
  private static let receiptBytes = 1 << 20
  /// How long the coordinator may be silent.
  ///
  /// It is never busy for long, since it computes nothing; but its process may be stopped, or its machine
  /// asleep, and then goes on where it was.
  private let timeout: Duration
  /// How long one elsewhere may leave the first question unanswered: so is who has a wrong key.
  private static let firstSilence = Duration.seconds(10)
  /// After so much silence the user is told what is waited for.
  private static let worryingSilence = Duration.seconds(10)
  /// How often a silent coordinator is asked whether it is there.
  private static let askInterval = Duration.seconds(2)

  /// - Throws: `CommandError` if nothing listens there.
  init(
    _ endpoint: Endpoint,
    security: Security = .localOnly,
    timeout: Duration = .seconds(60),
    interruptedBy interrupt: CInt? = nil
  ) throws {
    self.endpoint = endpoint
    self.timeout = timeout
    self.security = security
    self.interrupt = interrupt
    guard try endpoint.isListening() else {
      throw CommandError(
        "nothing serves \(endpoint); start a pipeline with `trestle up --model PATH`"
          + ", or name its --endpoint"
      )
    }
    context = try ZeroMQContext()
    let options = try security.options(.control, connectingToCoordinator: endpoint)
    socket = try Socket(context, role: .dealer, options: options)
    try socket.connect(endpoint)
  }

  deinit {
    socket.close()
    context.close()
  }

  /// Returns a number for a new request.
  func newRequest() -> UInt64 {
    defer { nextRequest += 1 }
    return nextRequest
  }

  func send(_ message: Message) throws {
    switch message {
    case .generate(let generate): awaited.insert(generate.request)
    case .evaluate(let evaluate): awaited.insert(evaluate.request)
    default: break
    }
    asked = clock.read(.now)
    guard try socket.send(message) == .sent else {
      throw CommandError("\(endpoint) takes no messages; is the coordinator running?")
    }
  }

  /// An answer with its payloads.
  typealias Answer = (message: Message, payloads: [[Float]])

  /// Waits for the next answer.
  ///
  /// - Parameter interrupt: A descriptor that ends the wait when it is readable.
  /// - Returns: The answer, or nil if interrupted.
  /// - Throws: `CommandError` if the coordinator is silent for too long.
  func receive(interruptedBy interrupt: CInt? = nil) throws -> Answer? {
    let interrupt = interrupt ?? self.interrupt
    var now = clock.read(.now)
    var heard = now
    var hasTold = false
    while true {
      now = clock.read(.now)
      while let received = try socket.receive() {
        let answer = try received.content.get()
        heard = now
        hasHeard = true
        let isAfterEnd = answer.message.failedRequest.map { ended.contains($0) } ?? false
        try acknowledge(answer.message, answer.payloads)
        // An answer to our own asking what has become of a request, crossed by its end.
        if isAfterEnd { continue }
        // Answers to our own asking whether it is there.
        if case .healthReply(let health) = answer.message, health.request == 0 {
          onHealth?(health)
          continue
        }
        // That a request still waits is no news of the workers.
        if case .accepted = answer.message {} else { asked = now }
        if case .requestFailed(let failure) = answer.message, failure.request == 0 {
          throw CommandError(failure.message)
        }
        return (answer.message, answer.payloads)
      }
      let isKnown = hasHeard || endpoint.socketPath != nil
      let patience = isKnown ? timeout : min(timeout, Self.firstSilence)
      if now - heard > patience {
        let advice = isKnown ? "" : keyAdvice(security, endpoint)
        throw CommandError("no answer from \(endpoint) in \(patience)\(advice)")
      }
      if !hasTold, now - heard > Self.worryingSilence {
        hasTold = true
        printError("no answer from \(endpoint) for \(Self.worryingSilence); waiting on")
      }
      if now - asked > Self.askInterval {
        asked = now
        guard try endpoint.isListening() else {
          throw CommandError("the coordinator at \(endpoint) has ended")
        }
        _ = try socket.send(.healthRequest(HealthRequest(request: 0)))
        try sendReceipt(asking: true)
      }
      let ready = try poll(
        sockets: [socket],
        descriptors: interrupt.map { [$0] } ?? [],
        timeout: .milliseconds(500)
      )
      if let interrupt, ready.descriptors.contains(interrupt) { return nil }
    }
  }

  /// Counts a message of a session, and tells the coordinator now and then.
  private func acknowledge(_ message: Message, _ payloads: [[Float]]) throws {
    var isLast = false
    switch message {
    case .accepted, .delta: break
    case .evaluated(let part):
      isLast = part.isLast
      unacknowledged.proof = part.proof
      if isLast { end(part.request) }
    case .finished(let finished): isLast = end(finished.request)
    case .requestFailed(let failure): isLast = end(failure.request)
    default: return
    }
    unacknowledged.messages += 1
    unacknowledged.bytes += payloads.reduce(0) { $0 + 4 * $1.count }
    if isLast || unacknowledged.messages >= Self.receiptMessages
      || unacknowledged.bytes >= Self.receiptBytes
    {
      try sendReceipt()
    }
  }

  /// Notes that the last message of a request has come; returns whether it was awaited.
  @discardableResult
  private func end(_ request: UInt64) -> Bool {
    guard awaited.remove(request) != nil else { return false }
    ended.insert(request)
    return true
  }

  /// Tells the coordinator what has come and, asking, what is still waited for.
  private func sendReceipt(asking: Bool = false) throws {
    let receipt = Receipt(
      messages: unacknowledged.messages,
      awaited: asking ? awaited.sorted().suffix(Limits.awaited) : [],
      proof: unacknowledged.proof
    )
    // A full queue: the next one tells of these too.
    guard try socket.send(.receipt(receipt)) == .sent else { return }
    unacknowledged = (0, 0, 0)
  }

  /// Asks for the pipeline's status.
  func status() throws -> StatusReply {
    guard let status = try nextStatus() else { throw Interrupted() }
    return status
  }

  /// Asks for the pipeline's status; returns nil if interrupted.
  func nextStatus() throws -> StatusReply? {
    let request = newRequest()
    try send(.statusRequest(StatusRequest(request: request)))
    while let answer = try receive() {
      switch answer.message {
      case .statusReply(let status) where status.request == request: return status
      case .requestFailed(let failure) where failure.request == request:
        throw CommandError(failure.message)
      default: continue
      }
    }
    return nil
  }

  /// Asks whether the workers are well, on request after each has tested its device.
  func health(selfTest: Bool = false) throws -> HealthReply {
    let request = newRequest()
    try send(.healthRequest(HealthRequest(request: request, runsSelfTest: selfTest)))
    while let answer = try receive() {
      switch answer.message {
      case .healthReply(let health) where health.request == request: return health
      case .requestFailed(let failure) where failure.request == request:
        throw CommandError(failure.message)
      default: continue
      }
    }
    throw Interrupted()
  }

  /// Evaluates tokens and calls `body` with each part of the result, in order.
  func evaluate(
    _ tokens: [Int32],
    _ kind: EvaluationKind,
    firstScored: Int = 0,
    _ body: (Evaluated, [[Float]]) throws -> Void
  ) throws {
    let request = newRequest()
    try send(
      .evaluate(
        Evaluate(request: request, tokens: tokens, kind: kind, firstScored: firstScored)
      )
    )
    while let answer = try receive() {
      switch answer.message {
      case .evaluated(let part) where part.request == request:
        try body(part, answer.payloads)
        if part.isLast { return }
      case .requestFailed(let failure) where failure.request == request:
        throw CommandError(failure.message)
      default: continue
      }
    }
    throw Interrupted()
  }
}

extension Message {
  /// The request that has failed; nil for any other message.
  fileprivate var failedRequest: UInt64? {
    if case .requestFailed(let failure) = self { failure.request } else { nil }
  }
}
