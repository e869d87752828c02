// How a socket behaves: queues, limits, heartbeats.

/// The options of a socket, each a limit with its reason.
package struct SocketOptions: Sendable, Hashable {
  /// Heartbeats between the I/O threads of the two sides.
  ///
  /// They show that a process lives, not that it computes. An ipc connection needs none, because it
  /// closes by itself when the process dies.
  package struct Heartbeat: Sendable, Hashable {
    package var interval: Duration
    /// How long to wait for the answer before the connection counts as lost.
    package var timeout: Duration

    package init(interval: Duration, timeout: Duration) {
      self.interval = interval
      self.timeout = timeout
    }
  }

  /// Which side of an encrypted connection the socket is.
  package enum Curve: Sendable, Hashable {
    /// Accepts connections; the `Authenticator` decides which peers to let in.
    case server(SecretKey)
    /// Connects as `own` to the holder of the secret key of `server`, and to nobody else.
    case client(own: KeyPair, server: PublicKey)
  }

  /// How many messages may wait to be sent to one peer; beyond that a send is refused as `.full`.
  package var sendQueue: Int
  /// How many messages of one peer may wait to be received; beyond that the peer's own queue fills.
  package var receiveQueue: Int
  /// The largest frame; a peer that sends a larger one is disconnected.
  package var maxFrameBytes = Limits.payloadBytes
  /// How long closing waits for queued messages to be sent: long enough for a goodbye to a peer
  /// that reads, too short to be felt with a peer that does not.
  package var linger: Duration = .milliseconds(250)
  /// How long a new connection may take for its ZeroMQ handshake.
  package var handshake: Duration = Self.handshake
  static let handshake = Duration.seconds(5)
  package var heartbeat: Heartbeat?
  /// Whether a DEALER queues messages only for established connections.
  ///
  /// Otherwise it also queues while its peer is away, and delivers when the peer reconnects.
  package var queuesOnlyWhenConnected = false
  /// Encryption and authentication, which `Security` chooses; nil for none.
  package var curve: Curve?

  /// The identity by which a ROUTER is to know this socket; if nil, the ROUTER chooses one.
  package var identity: PeerID?

  package init(sendQueue: Int, receiveQueue: Int) {
    self.sendQueue = sendQueue
    self.receiveQueue = receiveQueue
  }

  /// For messages without tensors: a thousand from a peer are a few hundred kilobytes.
  ///
  /// More may wait for a peer, because a front door has hundreds of streams on one connection, and each step brings
  /// all of them a message before the first is acknowledged. What clients leave unread is bounded in bytes, too.
  package static let control = SocketOptions(sendQueue: 2000, receiveQueue: 1000)

  /// For steps with their activations, 16 MiB each at 512 rows: as many as are ever in flight
  /// between two stages.
  package static let data = SocketOptions(sendQueue: 16, receiveQueue: 16)
}
