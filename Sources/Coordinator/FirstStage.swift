// The coordinator's socket to the first stage. If the system has no descriptor or memory left for
// it, the stage is not to blame: creating the socket is retried, and steps wait until then.

internal import Glibc
internal import Logging
internal import Wire

/// Sends steps to the first stage.
final class FirstStage {
  private let context: ZeroMQContext
  private let security: Security
  private let logger: Logger
  private var socket: Socket?
  /// The peer to connect to once the system has the resources; nil if no retry is pending.
  private var wanted: PeerAddress?
  private var nextTry = ContinuousClock.now
  /// Steps that wait for a socket that does not exist yet.
  private var waiting: [Step] = []

  /// The pause between two retries.
  private static let pause = Duration.milliseconds(100)

  init(_ context: ZeroMQContext, _ security: Security, logger: Logger) {
    self.context = context
    self.security = security
    self.logger = logger
  }

  /// Connects to another first stage, now or as soon as the system has the resources.
  ///
  /// - Throws: `WireError` if a retry cannot help.
  func connect(_ endpoint: String, _ key: PublicKey?) throws(WireError) {
    close()
    wanted = PeerAddress(try Endpoint(endpoint), key: key)
    try attempt()
    if let wanted {
      logger.warning(
        "no socket for the connection to the first stage; retrying",
        metadata: ["endpoint": "\(wanted.endpoint)"]
      )
    }
  }

  private func attempt() throws(WireError) {
    guard let peer = wanted else { return }
    do throws(WireError) {
      let options = try security.options(.data, connectingTo: peer)
      let socket = try Socket(context, role: .dealer, options: options)
      try socket.connect(peer.endpoint)
      self.socket = socket
    } catch {
      nextTry = .now + Self.pause
      if error.code == .scarce { return }
      wanted = nil
      throw error
    }
    wanted = nil
  }

  /// Sends a step, or queues it until the socket exists; returns false if it cannot be sent.
  func send(_ step: Step) -> Bool {
    if wanted != nil {
      waiting.append(step)
      return true
    }
    return (try? socket?.send(.step(step))) == .sent
  }

  /// Retries to create the socket, if a retry is due.
  ///
  /// - Returns: The events of the retry, if any.
  func tryAgain(at now: ContinuousClock.Instant) -> [CoordinatorEvent] {
    guard let peer = wanted, now >= nextTry else { return [] }
    do throws(WireError) { try attempt() } catch {
      waiting = []
      return [.firstStageNotConnected(reason: "cannot connect to \(peer.endpoint): \(error)")]
    }
    guard wanted == nil else { return [] }
    defer { waiting = [] }
    return waiting.filter { !send($0) }.map { .stepNotSent(sequence: $0.sequence) }
  }

  func close() {
    socket?.close()
    socket = nil
    wanted = nil
    waiting = []
  }
}
