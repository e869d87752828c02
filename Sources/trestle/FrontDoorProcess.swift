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
    var isStopping = false
  }

  private let arguments: [String]
  private let logger: Logger
  private let state = Lock(State())

  /// How long after its end it is started again.
  private static let pause = 1.0

  /// - Parameters:
  ///   - arguments: Those of `trestle serve`.
  ///   - logger: Where its ends are noted.
  init(_ arguments: [String], logger: Logger) {
    self.arguments = arguments
    self.logger = logger
  }

  /// Starts it.
  func start() {
    state.withLock { state in
      guard !state.isStopping else { return }
      let process = Process()
      process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
      process.arguments = ["serve", "--until-stdin-ends"] + arguments
      // Nothing is ever written; the end of this process ends it.
      process.standardInput = Pipe()
      process.terminationHandler = { [weak self] process in self?.ended(process) }
      do {
        try process.run()
        state.process = process
      } catch {
        logger.error("the front door cannot be started", metadata: ["error": "\(error)"])
      }
    }
  }

  private func ended(_ process: Process) {
    guard !state.withLock({ $0.isStopping }) else { return }
    // Wrong options do not become right by trying again.
    guard process.terminationReason == .uncaughtSignal else {
      logger.error("the front door has ended", metadata: ["status": "\(process.terminationStatus)"])
      return
    }
    logger.error("the front door was ended by a signal; starting it again")
    DispatchQueue.global().asyncAfter(deadline: .now() + Self.pause) { self.start() }
  }

  /// Ends it, and waits until it has ended.
  func stop() {
    let process = state.withLock { state in
      state.isStopping = true
      return state.process
    }
    guard let process, process.isRunning else { return }
    process.terminate()
    process.waitUntilExit()
  }
}
