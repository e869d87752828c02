// What stands in front of ZeroMQ: callers and connections that it could not bear are turned away before
// it sees them. How is in CSocketGuard.h.

internal import CSocketGuard
internal import Platform

/// The guard of this process's sockets.
package enum SocketGuard {
  /// What has been turned away since the process began, by reason.
  package struct Counts: Sendable, Hashable {
    /// Callers, since there were too many connections in all.
    package var full = 0
    /// Callers whose process or address had its share of connections.
    package var crowded = 0
    /// Callers for whom the system had no descriptor or memory left.
    package var exhausted = 0
    /// Connections in the middle of a handshake, for a newer one.
    package var displaced = 0
    /// Connections with a message larger than any legal one.
    package var unended = 0
    /// Connections that do not speak ZMTP 3.
    package var outdated = 0

    package init() {}
  }

  /// What libzmq keeps of a message that is not complete: a legal one, its frames' `msg_t` included.
  static let messageBytes =
    Limits.headerBytes + Limits.totalPayloadBytes + messageFrames * 64
  /// Frames of a message: sixteen times as many as are legal, so that a message with some too many is
  /// still refused by name.
  static let messageFrames = 16 * (1 + Limits.payloads)

  /// Tells the guard what is legal, once.
  private static let setLimits: Void = csocketguard_set_limits(
    UInt64(messageBytes),
    UInt32(messageFrames),
    CInt(SocketOptions.handshake.wholeMilliseconds)
  )

  /// Begins to bound messages; until then only connections are bounded.
  static func begin() { setLimits }

  /// Whether libzmq's calls reach the guard.
  package static var isLinked: Bool { csocketguard_is_linked() }

  /// How many connections others have to this process now.
  package static var connections: Int { Int(csocketguard_connections()) }

  package static var counts: Counts {
    let now = csocketguard_counts()
    var counts = Counts()
    counts.full = Int(clamping: now.full)
    counts.crowded = Int(clamping: now.crowded)
    counts.exhausted = Int(clamping: now.exhausted)
    counts.displaced = Int(clamping: now.displaced)
    counts.unended = Int(clamping: now.unended)
    counts.outdated = Int(clamping: now.outdated)
    return counts
  }

  /// Notes that a message of an encrypted connection has been delivered.
  static func delivered(by descriptor: CInt) { csocketguard_delivered(descriptor) }
}
