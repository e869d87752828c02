// Noticing that a client has gone. A server that only writes learns it late, and while a prompt is read there
// is nothing to write.

internal import HTTPTypes
internal import NIOCore
internal import NIOHTTPTypes
internal import Platform

/// Whether the client of one connection has closed its side.
///
/// A client that only shuts its sending side counts as gone: none of those that matter does.
final class HangUp: Sendable {
  private struct State {
    var isClosed = false
    var nextWaiter = 0
    var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
  }

  private let state = Lock(State())

  /// Notes that the client has gone.
  func fire() {
    let waiters = state.withLock { state in
      state.isClosed = true
      defer { state.waiters = [:] }
      return Array(state.waiters.values)
    }
    for waiter in waiters { waiter.resume() }
  }

  /// Waits until the client has gone, or the task is cancelled.
  private func wait() async {
    let number = state.withLock { state in
      state.nextWaiter += 1
      return state.nextWaiter
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isOver = state.withLock { state in
          if state.isClosed || Task.isCancelled { return true }
          state.waiters[number] = continuation
          return false
        }
        if isOver { continuation.resume() }
      }
    } onCancel: {
      state.withLock { $0.waiters.removeValue(forKey: number) }?.resume()
    }
  }

  /// Runs work that is cancelled when the client goes.
  ///
  /// - Throws: What the work throws; `CancellationError` if the client has gone.
  func cancelling<Value: Sendable>(
    _ work: @escaping @Sendable () async throws -> Value
  ) async throws -> Value {
    try await withThrowingTaskGroup(of: Value?.self) { group in
      group.addTask { try await work() }
      group.addTask {
        await self.wait()
        return nil
      }
      defer { group.cancelAll() }
      guard let value = try await group.next() ?? nil else { throw CancellationError() }
      return value
    }
  }
}

/// Tells a connection's `HangUp` what happens on its channel.
final class HangUpHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart

  let hangUp = HangUp()
  private let counters: HTTPCounters

  init(_ counters: HTTPCounters) { self.counters = counters }

  func handlerAdded(context: ChannelHandlerContext) { counters.opened() }

  func handlerRemoved(context: ChannelHandlerContext) { counters.closed() }

  func channelInactive(context: ChannelHandlerContext) {
    hangUp.fire()
    context.fireChannelInactive()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if let event = event as? ChannelEvent, event == .inputClosed { hangUp.fire() }
    context.fireUserInboundEventTriggered(event)
  }

  /// Returns the `HangUp` of a channel.
  static func of(_ channel: any Channel) async throws -> HangUp {
    try await channel.eventLoop.submit {
      try channel.pipeline.syncOperations.handler(type: HangUpHandler.self).hangUp
    }.get()
  }
}
