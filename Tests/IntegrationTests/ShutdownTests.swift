// The shutdown of a pipeline, on request or by a kill; and one server per endpoint.

import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
  @Suite struct `Shutdown` {
    @Test(arguments: [SIGTERM, SIGINT])
    func `a signal ends up with its workers and leaves nothing`(_ signal: CInt) async throws {
      try await withTemporaryDirectory { directory in
        let cluster = try await Cluster(in: directory)
        let pids = try await cluster.workerPids()
        try #require(pids.count == 3 && pids.allSatisfy(ProcessTable.isRunning))
        let client = try cluster.start("ROMEO:\n", ["--raw", "--max-tokens", "3000"])
        try await client.waitForOutput { !$0.isEmpty }
        cluster.process.signal(signal)
        let outcome = try await cluster.process.wait(atMost: .seconds(5))
        #expect(outcome.status == 0, "\(outcome)")
        for pid in pids { #expect(!ProcessTable.isRunning(pid), "worker \(pid) still runs") }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
        let told = try await client.wait(atMost: .seconds(2))
        #expect(told.status == 1, "\(told)")
        #expect(told.errors == "error: the coordinator is stopping\n", "\(told)")
      }
    }

    @Test func `when up is killed its workers end and its endpoint is free again`() async throws {
      try await withTemporaryDirectory { directory in
        let cluster = try await Cluster(in: directory)
        let pids = try await cluster.workerPids()
        cluster.process.signal(SIGKILL)
        let areGone = try await eventually(within: .seconds(2)) {
          !pids.contains(where: ProcessTable.isRunning)
        }
        #expect(areGone, "workers \(pids.filter(ProcessTable.isRunning)) still run")
        var left: [String] = []
        let isClean = try await eventually(within: .seconds(2)) {
          left = try FileManager.default.contentsOfDirectory(atPath: directory)
          return left.isEmpty
        }
        #expect(isClean, "left behind: \(left)")
        let next = try await Cluster(in: directory)
        #expect(try await next.run("Who are you?", ["--temperature", "0"]).finishReason == "stop")
        try await next.stop()
      }
    }

    @Test func `a second up on an endpoint is refused and told who serves it`() async throws {
      try await withCluster { cluster in
        let second = try await TrestleProcess.run(
          ["up", "--model", Goldens.demoModel.path, "--endpoint", cluster.endpoint]
        )
        #expect(second.status == 1 && second.output.isEmpty, "\(second)")
        #expect(second.errors.split(separator: "\n").count == 1, "\(second)")
        #expect(second.errors.contains(cluster.endpoint), "\(second)")
        #expect(second.errors.contains("\(cluster.process.pid)"), "\(second)")
        #expect(try await cluster.health().healthy)
      }
    }

    /// Commands that start a pipeline of their own, each with minutes of work.
    private static let long = [
      ["run", "--raw", "--seed", "2", "--max-tokens", "3000", "ROMEO:"],
      ["bench", "--repeat", "100"],
      ["perplexity", "--file", Goldens.demoModel.appending(path: "training/shakespeare.txt").path],
    ]

    @Test(arguments: long)
    func `an interrupted command takes its private pipeline along`(
      _ arguments: [String]
    )
      async throws
    {
      let model = ["--model", Goldens.demoModel.path] + Cluster.threeWorkers
      let command = try TrestleProcess([arguments[0]] + model + arguments.dropFirst())
      let pipeline = try await PrivatePipeline(of: command, workerCount: 3)
      try await Task.sleep(for: .milliseconds(300))
      #expect(command.isRunning, "it was to be interrupted before its end")
      #expect(FileManager.default.fileExists(atPath: pipeline.directory))
      command.signal(SIGINT)
      let outcome = try await command.wait(atMost: .seconds(5))
      #expect(outcome.status == (arguments[0] == "run" ? 130 : 1), "\(outcome)")
      pipeline.expectGone()
    }
  }
}
