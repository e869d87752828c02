// A pipeline for one command: the coordinator runs on a thread of this process, its workers are
// child processes, and nobody else knows its endpoint.

internal import Coordinator
internal import Glibc
package import Logging
internal import Platform
package import Wire

/// A pipeline that lives as long as a command.
package final class PrivatePipeline {
  package let endpoint: Endpoint
  private let directory: String
  private var thread: Platform.Thread?
  private let stopSignal: Mailbox<Void>
  private let state: Lock<State>
  private let changed: Mailbox<Void>

  private struct State {
    var isReady = false
    var failure: (any Error)?
    var hasEnded = false
  }

  /// Starts the pipeline and waits until it accepts prompts.
  ///
  /// - Parameters:
  ///   - pipeline: The pipeline to start.
  ///   - logger: Where to log.
  ///   - interrupt: A descriptor that ends the wait when it is readable.
  /// - Throws: Why it could not be started, or `Interrupted`.
  package init(_ pipeline: Pipeline, logger: Logger, interruptedBy interrupt: CInt) throws {
    stopSignal = try Mailbox()
    changed = try Mailbox()
    state = Lock(State())
    directory = try PrivateDirectory.make()
    do {
      endpoint = try Endpoint("ipc://\(directory)/front")
      thread = try start(pipeline, logger)
    } catch {
      unsafe rmdir(directory)
      throw error
    }
    try waitUntilReady(interrupt)
  }

  private func start(_ pipeline: Pipeline, _ logger: Logger) throws -> Platform.Thread {
    let (endpoint, stopSignal, state, changed) = (endpoint, stopSignal, state, changed)
    let progress = pipeline.context.reporter.progress("loading")
    // The coordinator is made on the thread that runs it: its sockets belong to one thread.
    return try Platform.Thread {
      do {
        let coordinator = try pipeline.start(
          at: endpoint,
          logger: logger,
          onProgress: { progress.show($0) },
          onReady: {
            progress.clear()
            state.withLock { $0.isReady = true }
            changed.post(())
          }
        )
        try coordinator.run(untilReadable: stopSignal.descriptor)
      } catch {
        progress.clear()
        let wasReady = state.withLock { state in
          state.failure = error
          return state.isReady
        }
        // Before the pipeline is ready, `waitUntilReady` throws the error. Later the client learns
        // only that the coordinator has ended, so the reason is logged.
        if wasReady { logger.error("pipeline ended", metadata: ["reason": "\(error)"]) }
      }
      state.withLock { $0.hasEnded = true }
      changed.post(())
    }
  }

  private func waitUntilReady(_ interrupt: CInt) throws {
    while true {
      let now = state.withLock { $0 }
      if let failure = now.failure {
        stop()
        throw failure
      }
      if now.isReady { return }
      let descriptors = [changed.descriptor, interrupt]
      let ready = try poll(sockets: [], descriptors: descriptors, timeout: nil)
      _ = changed.takeAll()
      if ready.contains(descriptor: interrupt) {
        stop()
        throw Interrupted()
      }
    }
  }

  /// Stops the workers and the coordinator, and removes the endpoint.
  package func stop() {
    stopSignal.post(())
    while !state.withLock({ $0.hasEnded }) {
      _ = try? poll(sockets: [], descriptors: [changed.descriptor], timeout: .milliseconds(100))
      _ = changed.takeAll()
    }
    thread?.join()
    thread = nil
    unsafe rmdir(directory)
  }
}
