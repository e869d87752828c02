// A whole pipeline on threads of the test: a coordinator and workers that speak through real sockets, each
// worker with a backend of the test's choice.

import Client
import Compute
import Coordinator
import Foundation
import Glibc
import Logging
import Platform
import TestSupport
import Wire
import Worker

@testable import Launch

/// A coordinator, its workers, and a client.
final class ThreadedPipeline {
  let endpoint: Endpoint
  private let directory: String
  private let pipeline: Pipeline
  private let stop: Mailbox<Void>
  private var threads: [Platform.Thread] = []
  private var workerCount = 0
  /// How coordinator and workers have ended.
  private let ends = Lock<[any Error]>([])
  private let readyCount = Lock(0)
  private var client: CoordinatorClient?

  /// Starts the coordinator.
  init(_ pipeline: Pipeline, in directory: String) throws {
    let endpoint = try Endpoint("ipc://\(directory)/front")
    let stop = try Mailbox<Void>()
    self.endpoint = endpoint
    self.stop = stop
    self.directory = directory
    self.pipeline = pipeline
    let readyCount = readyCount
    try run {
      let loop = try CoordinatorLoop(
        machine: pipeline.machine(),
        endpoint: endpoint,
        supervisor: nil,
        weights: pipeline.weightsDesk(),
        logger: Self.logger,
        trace: nil,
        onProgress: { _ in },
        onReady: { readyCount.withLock { $0 += 1 } }
      )
      try loop.run(untilReadable: stop.descriptor)
    }
    try wait { try endpoint.isListening() || !ends.withLock { $0.isEmpty } }
  }

  private static var logger: Logger {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return logger
  }

  /// Runs a part of the pipeline on a thread of its own, and keeps the error that ends it.
  private func run(_ body: @escaping @Sendable () throws -> Void) throws {
    let ends = ends
    threads.append(
      try Platform.Thread {
        do { try body() } catch { ends.withLock { $0.append(error) } }
      }
    )
  }

  /// Starts a worker.
  func start(_ name: String, on backend: any Backend) throws {
    workerCount += 1
    let options = WorkerOptions(
      name: name,
      coordinator: endpoint,
      listen: try Endpoint("ipc://\(directory)/worker-\(workerCount)"),
      lifeline: nil,
      passesAllLayers: false
    )
    let model = WorkerModel.local(pipeline.checkpoint, fingerprint: pipeline.fingerprint)
    let descriptor = stop.descriptor
    try run {
      let loop = try WorkerLoop(options, model: model, backend: backend, logger: Self.logger)
      try loop.run(untilReadable: descriptor)
    }
  }

  /// Returns the client, which there is once the coordinator listens.
  func connected() throws -> CoordinatorClient {
    if let client { return client }
    let client = try CoordinatorClient(endpoint)
    self.client = client
    return client
  }

  /// Waits until prompts are served.
  ///
  /// The calling thread waits: tasks that sleep do not wake up in time while hundreds of other tests have
  /// the threads.
  func awaitReady() throws { try wait { readyCount.withLock { $0 } > 0 || !errors.isEmpty } }

  /// Waits for the first error that ends the coordinator or a worker.
  func awaitError() throws -> (any Error)? {
    try wait { !errors.isEmpty }
    return errors.first
  }

  var errors: [any Error] { ends.withLock { $0 } }

  private func wait(until isDone: () throws -> Bool) throws {
    let deadline = ContinuousClock.now + .seconds(120)
    while try !isDone() {
      guard ContinuousClock.now < deadline else {
        throw WireError(.unreachable, "nothing in two minutes; ended: \(errors)")
      }
      usleep(10_000)
    }
  }

  /// Ends all of it and waits.
  func close() {
    client?.close()
    stop.post(())
    for thread in threads { thread.join() }
    threads = []
  }
}

/// Runs `body` with a pipeline of some devices of one thread each.
///
/// - Parameters:
///   - model: The golden model.
///   - devices: The devices of the workers, in their order.
///   - split: The layers of each; nil to plan them.
///   - kinds: Devices that the tests' registry does not know.
///   - backend: Makes the backend of a worker on a device.
///   - body: What is done with the pipeline, whose workers have been started.
/// - Returns: What `body` returns.
/// - Throws: What goes wrong.
func withThreadedPipeline<Result>(
  of model: String,
  _ devices: [String],
  split: [Int]?,
  adding kinds: [DeviceKind],
  backend: (_ device: String) throws -> any Backend,
  _ body: (ThreadedPipeline) async throws -> Result
) async throws -> Result {
  try await withTemporaryDirectory { directory in
    var settings = PipelineSettings()
    settings.devices = devices
    settings.threads = devices.map { _ in 1 }
    settings.split = split
    settings.contextTokens = 64
    settings.slots = 2
    let never = try Mailbox<Void>()
    let planned = try Pipeline(
      model: Goldens.checkpoint(model).path,
      settings,
      in: Surroundings(in: directory, adding: kinds).context,
      workersAreHere: false,
      interruptedBy: never.descriptor
    )
    let pipeline = try ThreadedPipeline(planned, in: directory)
    defer { pipeline.close() }
    for worker in planned.workers {
      try pipeline.start(worker.name, on: backend(worker.device.name))
    }
    return try await body(pipeline)
  }
}
