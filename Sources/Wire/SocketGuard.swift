// Admission control in front of ZeroMQ: callers and connections that could overload it are turned
// away before it sees them. CSocketGuard.h says how.

internal import CSocketGuard
internal import Platform

/// The guard of this process's sockets.
package enum SocketGuard {
  /// How many callers and connections have been turned away since the process began, by reason.
  package struct Counts: Sendable, Hashable {
    /// Callers refused because there were too many connections in all.
    package var full = 0
    /// Callers refused because their process or address had used its share of connections.
    package var crowded = 0
    /// Callers refused because the system had no descriptor or memory left.
    package var exhausted = 0
    /// Connections closed during their handshake, to make room for a newer one.
    package var displaced = 0
    /// Connections closed because of a message larger than any legal one.
    package var unended = 0
    /// Connections closed because they do not speak ZMTP 3.
    package var outdated = 0

    package init() {}
  }

  /// What libzmq holds of an incomplete message: the size of the largest legal one, with the
  /// `msg_t` of its frames.
  static let messageBytes =
    Limits.headerBytes + Limits.totalPayloadBytes + messageFrames * 64
  /// The frames of a message: sixteen times the legal number, so that a message with a few frames
  /// too many still gets an error that names the fault.
  static let messageFrames = 16 * (1 + Limits.payloads)

  /// Sets the guard's limits of messages, once.
  private static let setLimits: Void = csocketguard_set_limits(
    UInt64(messageBytes),
    UInt32(messageFrames),
    CInt(SocketOptions.handshake.wholeMilliseconds)
  )

  /// Starts to limit messages; before, only connections are limited.
  static func begin() { setLimits }

  /// Whether libzmq's system calls go through the guard.
  package static var isLinked: Bool { csocketguard_is_linked() }

  /// How many connections peers now have to this process.
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

  /// Notes that a message was delivered on an encrypted connection.
  static func delivered(by descriptor: CInt) { csocketguard_delivered(descriptor) }
}
