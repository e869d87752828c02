// The coordinator's socket to the first stage. Where the system has no descriptor or memory left for it,
// the fault is not the stage's: the socket is made as soon as there is one, and steps wait until then.

internal import Glibc
internal import Logging
internal import Wire

/// Where steps go.
final class FirstStage {
  private let context: ZeroMQContext
  private let security: Security
  private let logger: Logger
  private var socket: Socket?
  /// Where to connect to once the system has what it takes; nil if there is nothing to wait for.
  private var wanted: PeerAddress?
  private var nextTry = ContinuousClock.now
  /// Steps for a socket that is still to be made.
  private var waiting: [Step] = []

  /// How long until the next try.
  private static let pause = Duration.milliseconds(100)

  init(_ context: ZeroMQContext, _ security: Security, logger: Logger) {
    self.context = context
    self.security = security
    self.logger = logger
  }

  /// Connects to another first stage, now or as soon as the system allows.
  ///
  /// - Throws: `WireError` if it cannot be connected to at all.
  func connect(_ endpoint: String, _ key: PublicKey?) throws(WireError) {
    close()
    wanted = PeerAddress(try Endpoint(endpoint), key: key)
    try attempt()
    if let wanted {
      logger.warning(
        "no socket for the first stage yet; trying again",
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

  /// Sends a step, or keeps it for the socket that is to be made; false if it cannot be sent.
  func send(_ step: Step) -> Bool {
    if wanted != nil {
      waiting.append(step)
      return true
    }
    return (try? socket?.send(.step(step))) == .sent
  }

  /// Tries again to make a socket that could not be made, if it is time.
  ///
  /// - Returns: What came of it, if it matters.
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
