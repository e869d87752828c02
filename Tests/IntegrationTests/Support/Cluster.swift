// A pipeline for one test: `trestle up` on an endpoint that nothing else uses.

import Foundation
import Glibc
import TestSupport
import Testing

/// A running `trestle up`.
struct Cluster {
  /// The options for three workers with ten layers each of the demo model, or of any model with 30
  /// layers.
  static let threeWorkers = [
    "--devices", "cpu,cpu,cpu", "--split", "10,10,10", "--threads", "1,1,1",
  ]

  let directory: String
  let endpoint: String
  let process: TrestleProcess

  /// Starts a pipeline in a directory and waits until it accepts prompts.
  init(
    in directory: String,
    model: String = Goldens.demoModel.path,
    _ options: [String] = threeWorkers,
    descriptors: Int? = nil
  ) async throws {
    self.directory = directory
    endpoint = "ipc://\(directory)/front"
    process = try TrestleProcess(
      ["up", "--model", model, "--endpoint", endpoint] + options,
      descriptors: descriptors
    )
    try await process.waitForOutput { $0 == "ready\n" }
  }

  /// Stops it as Ctrl-C or a service manager does, and expects that nothing is left.
  func stop(sourceLocation: SourceLocation = #_sourceLocation) async throws {
    process.signal(SIGTERM)
    let outcome = try await process.wait(atMost: .seconds(10))
    #expect(outcome.status == 0, "\(outcome)", sourceLocation: sourceLocation)
    let left = try FileManager.default.contentsOfDirectory(atPath: directory)
      .filter { $0.hasPrefix("front") }
    #expect(left.isEmpty, sourceLocation: sourceLocation)
  }

  /// Starts `run` with a prompt; its stdout is text, or with `--json` a document.
  func start(_ prompt: String, _ options: [String]) throws -> TrestleProcess {
    try TrestleProcess(["run", "--endpoint", endpoint] + options + ["--", prompt])
  }

  /// Runs a prompt to its end.
  func run(
    _ prompt: String,
    _ options: [String],
    atMost limit: Duration = .seconds(30)
  ) async throws -> RunDocument {
    let outcome = try await start(prompt, options + ["--json"]).wait(atMost: limit)
    try #require(outcome.status == 0, "\(outcome)")
    return try outcome.document()
  }

  func status() async throws -> StatusDocument {
    try await TrestleProcess.run(["status", "--json", "--endpoint", endpoint]).document()
  }

  func health() async throws -> HealthDocument {
    try await TrestleProcess.run(["health", "--json", "--endpoint", endpoint]).document()
  }

  /// Returns the workers' process ids, in pipeline order.
  func workerPids() async throws -> [Int] { try await status().workers.map(\.pid) }

  /// Waits until every worker is healthy.
  func waitUntilHealthy(atMost limit: Duration = .seconds(5)) async throws {
    let isHealthy = try await eventually(within: limit) { try await self.health().healthy }
    #expect(isHealthy, "not healthy within \(limit): \(process.errors)")
  }
}

/// Runs the body with a pipeline, then stops it and expects a clean shutdown.
func withCluster(
  model: String = Goldens.demoModel.path,
  _ options: [String] = Cluster.threeWorkers,
  descriptors: Int? = nil,
  sourceLocation: SourceLocation = #_sourceLocation,
  _ body: (Cluster) async throws -> Void
) async throws {
  try await withTemporaryDirectory { directory in
    let cluster = try await Cluster(
      in: directory,
      model: model,
      options,
      descriptors: descriptors
    )
    try await body(cluster)
    try await cluster.stop(sourceLocation: sourceLocation)
  }
}

/// The workers and the directory of a command that starts a pipeline of its own.
struct PrivatePipeline {
  let workers: [Int]
  let directory: String

  /// Waits until a command has started its workers.
  init(of command: TrestleProcess, workerCount: Int) async throws {
    var workers: [Int] = []
    let areThere = try await eventually(within: .seconds(10)) {
      workers = ProcessTable.children(of: Int(command.pid)).filter {
        ProcessTable.arguments($0).contains("--coordinator")
      }
      return workers.count == workerCount
    }
    try #require(areThere, "workers \(workers): \(command.errors)")
    self.workers = workers
    let arguments = ProcessTable.arguments(workers[0])
    let at = try #require(arguments.firstIndex(of: "--coordinator"))
    let path = try #require(URL(string: arguments[at + 1])).path
    directory = URL(filePath: path).deletingLastPathComponent().path
  }

  /// Expects that neither the workers nor the directory are left.
  func expectGone(sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(!workers.contains(where: ProcessTable.isRunning), sourceLocation: sourceLocation)
    #expect(!FileManager.default.fileExists(atPath: directory), sourceLocation: sourceLocation)
  }
}

extension Golden.Case {
  /// Returns the command line that submits this case's text, with greedy sampling like the golden.
  func runOptions(tokens: Int) -> [String] {
    (kind == "chat" ? [] : ["--raw"]) + ["--temperature", "0", "--max-tokens", "\(tokens)"]
  }
}
