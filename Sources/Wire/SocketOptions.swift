// How a socket behaves: queues, limits, signs of life.

/// The options of a socket, each a limit with its reason.
package struct SocketOptions: Sendable, Hashable {
  /// Signs of life between the two sides' I/O threads.
  ///
  /// They show that a process lives, not that it
  /// computes; ipc needs none, since a dead process's connection closes by itself.
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
    /// Takes connections; who comes in is the `Authenticator`'s to say.
    case server(SecretKey)
    /// Connects as `own` to who holds the secret of `server`, and to nobody else.
    case client(own: KeyPair, server: PublicKey)
  }

  /// Messages that wait to be sent to one peer; beyond that a send is refused as `.full`.
  package var sendQueue: Int
  /// Messages of one peer that wait to be received; beyond that the peer's own queue fills.
  package var receiveQueue: Int
  /// The largest frame; a peer that sends a larger one is disconnected.
  package var maxFrameBytes = Limits.payloadBytes
  /// How long closing waits for what is still to be sent: enough for a goodbye to a peer that reads,
  /// not long enough to be felt with one that does not.
  package var linger: Duration = .milliseconds(250)
  /// How long a new connection may take to say that it speaks ZeroMQ.
  package var handshake: Duration = Self.handshake
  static let handshake = Duration.seconds(5)
  package var heartbeat: Heartbeat?
  /// Whether a DEALER queues only for connections that stand.
  ///
  /// Otherwise it also queues while its
  /// peer is away, and delivers when the peer is back.
  package var queuesOnlyWhenConnected = false
  /// Encryption and authentication, which `Security` chooses; nil for none.
  package var curve: Curve?

  /// The name under which a ROUTER shall know this socket; nil lets it choose one.
  package var identity: PeerID?

  package init(sendQueue: Int, receiveQueue: Int) {
    self.sendQueue = sendQueue
    self.receiveQueue = receiveQueue
  }

  /// For messages without tensors: a thousand a peer are a few hundred kilobytes.
  package static let control = SocketOptions(sendQueue: 1000, receiveQueue: 1000)

  /// For steps with their activations, 16 MiB each at 512 rows: as many as are ever in flight
  /// between two stages, and no more.
  package static let data = SocketOptions(sendQueue: 16, receiveQueue: 16)
}
