// A client's connection as a pure state machine: events go in, actions come out. It has no socket
// and no clock; ConnectionLoop is its shell. ConnectionMachine+Silence.swift has its timeouts and
// questions.

internal import Wire

/// An event of a connection.
enum ConnectionEvent: Sendable {
  /// A request with a number begins with this message.
  case begin(UInt64, Message)
  /// The reader of a request's answer asks for its end, and reads on until it comes.
  case cancel(UInt64)
  /// Nobody reads a request's answer any more.
  case abandon(UInt64)
  /// A message has come.
  case received(Message, payloads: [[Float]])
  /// A malformed message has come, or the connection has failed.
  case failed(WireError)
  /// A message has been read; `isLate` if its reader has kept it waiting.
  case read(serial: UInt64, isLate: Bool)
  /// No process listens at the endpoint.
  case absent
  /// The client is being closed.
  case close
  /// Time has passed.
  case tick
}

/// What the shell must do.
enum ConnectionAction: Sendable {
  /// Give a request's reader a message. If it has a serial, report with `read` when it has been
  /// read.
  case deliver(UInt64, Message, payloads: [[Float]], serial: UInt64?)
  /// End a request, successfully or with an error. Nothing follows.
  case finish(UInt64, ClientError?)
  /// Check whether a process listens at the endpoint.
  case probe
  /// Give the user news.
  case tell(ClientNews)
}

/// The open requests of one connection, and the messages to send.
struct ConnectionMachine: Sendable {
  /// A request whose answer is not complete.
  struct Request: Sendable {
    var kind: RequestKind
    /// The message to retry with while no answer comes; nil if a retry would do something twice.
    var question: Message?
    /// Whether its message has been handed to the socket.
    var isSent = false
    let began: ContinuousClock.Instant
    /// When the last message for it came.
    var heard: ContinuousClock.Instant
    /// When the last message came that says more than that it waits.
    var progressed: ContinuousClock.Instant

    /// Whether it changes something without a session.
    ///
    /// Such a request can neither be asked about nor retried.
    var isDeed: Bool { question == nil && !kind.isSession }
  }

  /// A message on its way to the socket.
  private struct Outgoing: Sendable {
    var message: Message
    /// The request that it begins.
    var begins: UInt64?
  }

  let endpoint: Endpoint
  /// How long the coordinator may be silent while requests are open.
  let timeout: Duration
  /// What may be wrong with the keys if no answer ever comes.
  let advice: String
  /// The requests whose answers are not complete, by number.
  var open: [UInt64: Request] = [:]
  var ledger = ReceiptLedger()
  /// When the last message came, or when the first of the open requests began if that was later.
  var heard: ContinuousClock.Instant
  /// When the coordinator was last asked whether it still runs.
  var asked: ContinuousClock.Instant
  /// Whether a message has ever come.
  var hasHeard = false
  /// Whether the user has been told of the silence.
  var hasTold = false
  private var outbox: [Outgoing] = []

  init(endpoint: Endpoint, timeout: Duration, advice: String, now: ContinuousClock.Instant) {
    self.endpoint = endpoint
    self.timeout = timeout
    self.advice = advice
    heard = now
    asked = now
  }

  /// Whether any request waits for messages, so that timeouts count.
  var isWaiting: Bool { !open.isEmpty }

  mutating func handle(
    _ event: ConnectionEvent,
    at now: ContinuousClock.Instant
  ) -> [ConnectionAction] {
    switch event {
    case .begin(let id, let message): begin(id, message, now)
    case .cancel(let id): cancel(id)
    case .abandon(let id): abandon(id)
    case .received(let message, let payloads): return receive(message, payloads, now)
    case .failed(let error): return failAll(ClientError(error))
    case .read(let serial, let isLate): ledger.read(serial, isLate: isLate)
    case .absent:
      return failAll(ClientError(.ended, "the coordinator at \(endpoint) has ended"))
    case .close: return failAll(ClientError(.closed, "the client was closed"))
    case .tick: return tick(now)
    }
    return []
  }
}

// MARK: Requests

extension ConnectionMachine {
  private mutating func begin(_ id: UInt64, _ message: Message, _ now: ContinuousClock.Instant) {
    guard let kind = RequestKind(of: message) else {
      preconditionFailure("\(message.name) does not begin a request")
    }
    if open.isEmpty { (heard, asked, hasTold) = (now, now, false) }
    open[id] = Request(
      kind: kind,
      question: message.isHarmless ? message : nil,
      began: now,
      heard: now,
      progressed: now
    )
    outbox.append(Outgoing(message: message, begins: id))
  }

  private mutating func cancel(_ id: UInt64) {
    guard let request = open[id], request.kind.isSession else { return }
    outbox.append(Outgoing(message: .cancel(Cancel(request: id))))
  }

  private mutating func abandon(_ id: UInt64) {
    ledger.readAll(of: id)
    guard let request = open.removeValue(forKey: id) else { return }
    retract(id, request)
  }

  /// Makes the coordinator stop its work for a request: takes an unsent message back, or cancels
  /// the session.
  private mutating func retract(_ id: UInt64, _ request: Request) {
    guard request.isSent else {
      outbox.removeAll { $0.begins == id }
      return
    }
    if request.kind.isSession { outbox.append(Outgoing(message: .cancel(Cancel(request: id)))) }
  }

  /// Ends every request with the same error.
  mutating func failAll(_ error: ClientError) -> [ConnectionAction] {
    var error = error
    error.context = "\(endpoint)"
    let ids = open.keys.sorted()
    for id in ids {
      if let request = open.removeValue(forKey: id) { retract(id, request) }
    }
    return ids.map { .finish($0, error) }
  }
}

// MARK: Messages

extension ConnectionMachine {
  private mutating func receive(
    _ message: Message,
    _ payloads: [[Float]],
    _ now: ContinuousClock.Instant
  ) -> [ConnectionAction] {
    (heard, hasHeard, hasTold) = (now, true, false)
    guard let answer = Answer(message) else { return [] }
    var serial: UInt64?
    if answer.isOfSession {
      serial = ledger.note(answer, bytes: payloads.reduce(0) { $0 + 4 * $1.count })
    }
    // Request 0 is used for this connection's own questions.
    if answer.request == 0 { return receiveWithoutRequest(message, serial, now) }
    guard var request = open[answer.request], request.kind.accepts(message) else {
      // The request has ended on this side, or never existed.
      if let serial { ledger.read(serial, isLate: false) }
      return []
    }
    request.heard = now
    // That a request still waits says nothing about the workers.
    if case .accepted = message {} else { request.progressed = now }
    open[answer.request] = answer.isLast ? nil : request
    if case .requestFailed(let failure) = message {
      if let serial { ledger.read(serial, isLate: false) }
      return [.finish(answer.request, ClientError(failure))]
    }
    let delivery = ConnectionAction.deliver(
      answer.request,
      message,
      payloads: payloads,
      serial: serial
    )
    return answer.isLast ? [delivery, .finish(answer.request, nil)] : [delivery]
  }

  private mutating func receiveWithoutRequest(
    _ message: Message,
    _ serial: UInt64?,
    _ now: ContinuousClock.Instant
  ) -> [ConnectionAction] {
    if let serial { ledger.read(serial, isLate: false) }
    switch message {
    case .healthReply(let health): return [.tell(.health(health))]
    case .statusReply(let status):
      return failAsked(before: now - .milliseconds(status.uptimeMilliseconds))
    case .requestFailed(let failure): return failAll(ClientError(failure))
    default: return []
    }
  }
}

// MARK: Sending

extension ConnectionMachine {
  /// The next message to send; nil if all have been sent.
  var nextMessage: Message? { outbox.first?.message }

  /// Notes that `nextMessage` has been sent.
  mutating func sent() {
    if let id = outbox.removeFirst().begins { open[id]?.isSent = true }
  }

  /// Notes that `nextMessage` can never be sent, and fails its request.
  mutating func notSent(_ error: WireError) -> [ConnectionAction] {
    guard let id = outbox.removeFirst().begins, open.removeValue(forKey: id) != nil else {
      return []
    }
    return [.finish(id, ClientError(unsendable: error))]
  }

  /// Whether the socket has accepted all messages so far.
  var hasSentAll: Bool { outbox.isEmpty }

  mutating func send(_ message: Message) { outbox.append(Outgoing(message: message)) }
}

extension Message {
  /// Whether it may be sent twice, because it changes nothing.
  fileprivate var isHarmless: Bool {
    switch self {
    case .statusRequest: true
    case .healthRequest(let request): !request.runsSelfTest
    default: false
    }
  }
}
