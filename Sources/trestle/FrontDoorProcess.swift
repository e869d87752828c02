// The front door that `up --http` starts: a process of its own, so that a fault in it cannot end the pipeline.

import Foundation
import Logging
import Platform

/// A process that serves HTTP beside a coordinator.
///
/// It ends with this process, however that ends, and is started again if a signal ends it before.
final class FrontDoorProcess: Sendable {
  private struct State {
    var process: Process?
    /// Its stdin, on which nothing is ever written.
    var input: Pipe?
    var isStopping = false
    var hasListened = false
    var hasFailed = false
  }

  private let arguments: [String]
  private let logger: Logger
  private let onListening: @Sendable () -> Void
  private let state = Lock(State())

  /// How long after its end it is started again.
  private static let pause = 1.0

  /// - Parameters:
  ///   - arguments: Those of `trestle serve`.
  ///   - logger: Where its ends are noted.
  ///   - onListening: Called once, when it accepts connections for the first time.
  init(_ arguments: [String], logger: Logger, onListening: @escaping @Sendable () -> Void) {
    self.arguments = arguments
    self.logger = logger
    self.onListening = onListening
  }

  /// Whether it has ended before it ever listened, by wrong options or because of a port in use.
  ///
  /// This process is told to end, then.
  var hasFailed: Bool { state.withLock { $0.hasFailed } }

  /// Starts it.
  func start() {
    state.withLock { state in
      guard !state.isStopping else { return }
      let process = Process()
      process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
      process.arguments = ["serve", "--until-stdin-ends"] + arguments
      // The end of this process closes it.
      let input = Pipe()
      process.standardInput = input
      let output = Pipe()
      process.standardOutput = output
      output.fileHandleForReading.readabilityHandler = { [weak self] handle in
        if handle.availableData.isEmpty { handle.readabilityHandler = nil } else { self?.listens() }
      }
      process.terminationHandler = { [weak self] process in self?.ended(process) }
      do {
        try process.run()
        (state.process, state.input) = (process, input)
      } catch {
        logger.error("the front door cannot be started", metadata: ["error": "\(error)"])
      }
    }
  }

  private func listens() {
    let isFirst = state.withLock { state in
      defer { state.hasListened = true }
      return !state.hasListened
    }
    if isFirst { onListening() }
  }

  private func ended(_ process: Process) {
    guard !state.withLock({ $0.isStopping }) else { return }
    // Wrong options do not become right by trying again.
    guard process.terminationReason == .uncaughtSignal else {
      logger.error("the front door has ended", metadata: ["status": "\(process.terminationStatus)"])
      let isFailure = state.withLock { state in
        state.hasFailed = !state.hasListened
        return state.hasFailed
      }
      if isFailure { kill(getpid(), SIGTERM) }
      return
    }
    logger.error("the front door was ended by a signal; starting it again")
    DispatchQueue.global().asyncAfter(deadline: .now() + Self.pause) { self.start() }
  }

  /// How long it may take to end.
  private static let patience = Duration.seconds(8)

  /// Ends it, and waits until it has ended.
  ///
  /// Signals would not do: it has inherited that they are blocked.
  func stop() {
    let (process, input) = state.withLock { state in
      state.isStopping = true
      return (state.process, state.input)
    }
    guard let process, process.isRunning else { return }
    try? input?.fileHandleForWriting.close()
    let deadline = ContinuousClock.now + Self.patience
    while process.isRunning {
      guard ContinuousClock.now < deadline else {
        kill(process.processIdentifier, SIGKILL)
        return
      }
      usleep(20_000)
    }
  }
}
