// Flow control: what has been sent to clients and not been acknowledged. A socket's queue is
// bounded in messages, but a message may be sixteen megabytes of logits or six bytes of text. So
// bytes are counted here, receipts reduce the count, and a client's sessions pause while it is too
// high (backpressure).

internal import Wire

/// The messages of sessions that clients have not acknowledged.
struct Outflow: Sendable {
  /// How much may be unread before sessions pause.
  struct Limits: Sendable, Hashable {
    /// Messages of one client.
    ///
    /// A quarter of the socket's queue, so that there is room for the results in flight of a paused
    /// session and for refusals. A client that reads acknowledges its messages within milliseconds.
    var messages = SocketOptions.control.sendQueue / 4
    /// Bytes of one client: one step's logits and more.
    var bytes = 32 << 20
    /// Bytes of all clients together.
    var totalBytes = 256 << 20
  }

  /// What a message takes besides its text, tokens and numbers: its envelope and the bookkeeping of
  /// ZeroMQ and the kernel.
  private static let messageBytes = 128

  private struct Unread: Sendable {
    /// In bytes.
    var size: Int
    /// The proof that only a client that has read the message can return; nil for a small message,
    /// for which its receipt is believed.
    var proof: UInt64?
  }

  private struct Account: Sendable {
    /// The oldest first.
    var unread: [Unread] = []
    var bytes = 0
    /// When it was last found to have read something, or begun.
    var since: ContinuousClock.Instant
  }

  private let limits: Limits
  private var accounts: [PeerID: Account] = [:]
  /// Of all clients.
  private(set) var bytes = 0

  init(_ limits: Limits) { self.limits = limits }

  /// Counts a message of a session; others are not counted.
  mutating func sent(
    _ message: Message,
    _ payloads: [[Float]],
    to peer: PeerID,
    at now: ContinuousClock.Instant
  ) {
    guard let size = Self.size(message, payloads) else { return }
    var proof: UInt64?
    if case .evaluated(let part) = message { proof = part.proof }
    accounts[peer, default: Account(since: now)].unread.append(Unread(size: size, proof: proof))
    accounts[peer]?.bytes += size
    bytes += size
  }

  /// Returns the bytes of a message; nil if it does not belong to a session.
  private static func size(_ message: Message, _ payloads: [[Float]]) -> Int? {
    switch message {
    case .delta(let delta): messageBytes + delta.contentBytes
    case .evaluated(let part):
      messageBytes + 8 * part.scores.count + payloads.reduce(0) { $0 + 4 * $1.count }
    case .requestFailed(let failure): messageBytes + failure.message.utf8.count
    case .accepted, .finished: messageBytes
    default: nil
    }
  }

  /// Notes that the last message to a client has not been sent after all.
  mutating func notSent(to peer: PeerID) {
    guard let size = accounts[peer]?.unread.popLast()?.size else { return }
    accounts[peer]?.bytes -= size
    bytes -= size
    if accounts[peer]?.unread.isEmpty ?? false { accounts[peer] = nil }
  }

  /// Handles a client's receipt for the given number of messages.
  ///
  /// Large messages count only up to the last one whose proof the client has returned, because
  /// messages come in order.
  mutating func received(_ receipt: Receipt, by peer: PeerID, at now: ContinuousClock.Instant) {
    guard var account = accounts[peer] else { return }
    let claimed = account.unread.prefix(receipt.messages)
    let proven = claimed.lastIndex { $0.proof == receipt.proof }.map { $0 + 1 } ?? 0
    let count = claimed[proven...].firstIndex { $0.proof != nil } ?? claimed.endIndex
    guard count > 0 else { return }
    let read = account.unread.prefix(count).reduce(0) { $0 + $1.size }
    account.unread.removeFirst(count)
    account.bytes -= read
    account.since = now
    bytes -= read
    accounts[peer] = account.unread.isEmpty ? nil : account
  }

  /// Forgets a client that has disconnected; ZeroMQ has dropped what was queued for it.
  mutating func forget(_ peer: PeerID) {
    bytes -= accounts.removeValue(forKey: peer)?.bytes ?? 0
  }

  /// Whether a client has so much to read that its sessions pause.
  ///
  /// - Parameters:
  ///   - peer: The client.
  ///   - expected: The bytes that steps under way will bring it, if it wants logits; nil for text.
  /// - Returns: True while nothing more should be computed for it.
  func isFull(_ peer: PeerID, expecting expected: Int? = nil) -> Bool {
    let account = accounts[peer]
    if account?.unread.count ?? 0 >= limits.messages { return true }
    let own = (account?.bytes ?? 0) + (expected ?? 0)
    if own >= limits.bytes { return true }
    // Other clients' logits delay neither clients that want text, nor those that have read
    // everything.
    guard let expected, own > 0 else { return false }
    return bytes + expected >= limits.totalBytes
  }

  /// Messages that a client has not read.
  func unreadCount(_ peer: PeerID) -> Int { accounts[peer]?.unread.count ?? 0 }

  /// Clients that have not read what they were sent since before an instant, in an order of their own.
  func clients(unreadSince limit: ContinuousClock.Instant) -> [PeerID] {
    accounts.filter { $0.value.since < limit }.map(\.key)
      .sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
  }
}
