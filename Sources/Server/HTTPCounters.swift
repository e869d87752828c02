// What one front door counts of its own: connections, and requests by route and status.

internal import Platform

/// The counts of a front door's life.
final class HTTPCounters: Sendable {
  struct Request: Hashable, Sendable {
    /// A path that is served; `other` for all else, since anybody can invent paths.
    var route: String
    var status: Int
  }

  private struct State {
    var connections = 0
    var requests: [Request: Int] = [:]
  }

  private let state = Lock(State())

  func opened() { state.withLock { $0.connections += 1 } }

  func closed() { state.withLock { $0.connections -= 1 } }

  func answered(_ request: Request) { state.withLock { $0.requests[request, default: 0] += 1 } }

  var connections: Double { Double(state.withLock { $0.connections }) }

  /// Sorted by route and status.
  var requests: [(Request, Double)] {
    state.withLock { $0.requests }
      .sorted { ($0.key.route, $0.key.status) < ($1.key.route, $1.key.status) }
      .map { ($0.key, Double($0.value)) }
  }
}
