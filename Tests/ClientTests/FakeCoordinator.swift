// A coordinator that says what a test has it say: a ROUTER on a thread of its own, which remembers what
// came. Tests wait for what they want to see there, never for time to pass.

import Glibc
import Platform
import Wire

/// A coordinator without workers.
final class FakeCoordinator: Sendable {
  /// A message with its tensors.
  struct Parcel: Sendable {
    var message: Message
    var payloads: [[Float]] = []
  }

  private enum Order: Sendable {
    case send(Parcel)
    case stop
  }

  private struct Watcher: Sendable {
    var isSatisfied: @Sendable ([Message]) -> Bool
    var continuation: CheckedContinuation<[Message], any Error>
  }

  private struct State: Sendable {
    var received: [Message] = []
    var watchers: [UInt64: Watcher] = [:]
    var nextWatcher: UInt64 = 0
  }

  let endpoint: Endpoint
  private let orders: Mailbox<Order>
  private let state: Lock<State>
  private let thread: Lock<Platform.Thread?>

  /// Listens in a directory, and answers each message as `answer` says.
  init(
    in directory: String,
    answering answer: @escaping @Sendable (Message) -> [Message] = { _ in [] }
  ) throws {
    let endpoint = try Endpoint("ipc://\(directory)/front")
    let (orders, state) = (try Mailbox<Order>(), Lock(State()))
    let bound = try Mailbox<WireError?>()
    (self.endpoint, self.orders, self.state) = (endpoint, orders, state)
    let context = try ZeroMQContext()
    thread = Lock(
      try Platform.Thread {
        do throws(WireError) {
          let socket = try Socket(context, role: .router)
          defer { socket.close() }
          try socket.bind(endpoint)
          bound.post(nil)
          try Self.serve(socket, orders, state, answer)
        } catch {
          bound.post(error)
        }
        context.close()
      }
    )
    _ = try poll(sockets: [], descriptors: [bound.descriptor], timeout: .seconds(10))
    if let error = bound.takeAll().first.flatMap(\.self) { throw error }
  }

  deinit { stop() }

  /// Ends as a killed process does: the socket is gone.
  func stop() {
    let thread = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    guard let thread else { return }
    orders.post(.stop)
    thread.join()
    if let path = endpoint.socketPath { unsafe unlink(path) }
  }

  /// Sends messages to the client that wrote last.
  func send(_ messages: Message...) {
    for message in messages { orders.post(.send(Parcel(message: message))) }
  }

  func send(_ message: Message, payload: [Float]) {
    orders.post(.send(Parcel(message: message, payloads: [payload])))
  }

  /// All that has come so far.
  var received: [Message] { state.withLock { $0.received } }

  /// Waits until what has come is as a test wants it, and returns it.
  func received(
    until isSatisfied: @escaping @Sendable ([Message]) -> Bool
  ) async throws
    -> [Message]
  {
    let number = state.withLock { state in
      state.nextWatcher += 1
      return state.nextWatcher
    }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let now = state.withLock { state -> Result<[Message], any Error>? in
          if Task.isCancelled { return .failure(CancellationError()) }
          if isSatisfied(state.received) { return .success(state.received) }
          state.watchers[number] = Watcher(isSatisfied: isSatisfied, continuation: continuation)
          return nil
        }
        if let now { continuation.resume(with: now) }
      }
    } onCancel: {
      state.withLock { $0.watchers.removeValue(forKey: number) }?.continuation
        .resume(throwing: CancellationError())
    }
  }

  /// Waits for the first message of which `pick` makes something.
  func first<Found: Sendable>(
    _ pick: @escaping @Sendable (Message) -> Found?
  ) async throws -> Found {
    let all = try await received { $0.contains { pick($0) != nil } }
    guard let found = all.lazy.compactMap(pick).first else {
      preconditionFailure("what was found is gone")
    }
    return found
  }

  private static func serve(
    _ socket: Socket,
    _ orders: Mailbox<Order>,
    _ state: Lock<State>,
    _ answer: (Message) -> [Message]
  ) throws(WireError) {
    var peer: PeerID?
    while true {
      _ = try poll(sockets: [socket], descriptors: [orders.descriptor], timeout: nil)
      while let received = try socket.receive() {
        peer = received.peer
        let message = try received.content.get().message
        note(message, state)
        for reply in answer(message) { try send(Parcel(message: reply), socket, peer) }
      }
      for order in orders.takeAll() {
        switch order {
        case .send(let parcel): try send(parcel, socket, peer)
        case .stop: return
        }
      }
    }
  }

  private static func note(_ message: Message, _ state: Lock<State>) {
    let (all, satisfied) = state.withLock { state in
      state.received.append(message)
      let satisfied = state.watchers.filter { $0.value.isSatisfied(state.received) }
      for number in satisfied.keys { state.watchers[number] = nil }
      return (state.received, satisfied)
    }
    for watcher in satisfied.values { watcher.continuation.resume(returning: all) }
  }

  /// Sends to a client, however long its queue stays full.
  private static func send(
    _ parcel: Parcel,
    _ socket: Socket,
    _ peer: PeerID?
  ) throws(WireError) {
    guard let peer else { preconditionFailure("no client has written yet") }
    while try socket.send(parcel.message, payloads: parcel.payloads, to: peer) == .full {
      _ = try poll(sockets: [], timeout: .milliseconds(1))
    }
  }
}

extension Message {
  /// The number of a `Generate`.
  var generated: UInt64? {
    if case .generate(let generate) = self { generate.request } else { nil }
  }

  /// The number of a `Cancel`.
  var cancelled: UInt64? { if case .cancel(let cancel) = self { cancel.request } else { nil } }

  var receipt: Receipt? { if case .receipt(let receipt) = self { receipt } else { nil } }
}

extension [Message] {
  /// How many messages receipts have told of.
  var receiptedCount: Int { compactMap(\.receipt).reduce(0) { $0 + $1.messages } }
}
