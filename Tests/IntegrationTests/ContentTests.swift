// Two files with the same name and size are two models, and a change to a file that is being served
// is noticed: no answer is ever computed from the weights of both.

import Content
import Foundation
import Glibc
import TestSupport
import Testing
import Wire

extension Integration {
  @Suite struct `Content is identity` {
    private let original = Goldens.demoModel.path

    /// Copies the demo model.
    private func copy(to path: String) throws -> String {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      for name in try FileManager.default.contentsOfDirectory(atPath: original)
      where name.hasSuffix(".json") || name.hasSuffix(".safetensors") {
        try FileManager.default.copyItem(
          atPath: "\(original)/\(name)",
          toPath: "\(path)/\(name)"
        )
      }
      return path
    }

    private func weights(_ model: String) -> String { "\(model)/model.safetensors" }

    /// Changes the weights of a model at many places, none of them near the begin or end of a
    /// tensor, and only in their mantissas, so that they stay finite.
    private func damage(_ model: String) throws {
      let handle = try #require(FileHandle(forUpdatingAtPath: weights(model)))
      let size = try handle.seekToEnd()
      for place in stride(from: size / 6 * 2, to: size - 100_000, by: 1510) {
        try handle.seek(toOffset: place)
        let byte = try #require(handle.read(upToCount: 1)?.first)
        try handle.seek(toOffset: place)
        try handle.write(contentsOf: [byte ^ 0x41])
      }
      try handle.close()
    }

    private func coordinate(_ endpoint: String, _ model: String) throws -> TrestleProcess {
      try TrestleProcess(
        ["coordinate", "--model", model, "--endpoint", endpoint, "--devices", "cpu"]
      )
    }

    private func work(_ endpoint: String, _ options: [String]) throws -> TrestleProcess {
      try TrestleProcess(
        ["work", "--device", "cpu", "--threads", "1", "--coordinator", endpoint] + options
      )
    }

    private func tokens(_ endpoint: String, _ prompt: String) async throws -> [Int] {
      let outcome = try await TrestleProcess.run(
        ["run", "--endpoint", endpoint, "--raw", "--temperature", "0", "--json"]
          + ["--max-tokens", "40", "--", prompt]
      )
      return try outcome.document(RunDocument.self).tokens
    }

    private func stop(_ processes: [TrestleProcess]) async throws {
      processes.first?.signal(SIGTERM)
      for process in processes {
        let outcome = try await process.wait(atMost: .seconds(8))
        #expect(outcome.status == 0, "\(outcome)")
      }
    }

    @Test func `a worker whose own copy has other bytes is refused, with the file's name`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let copy = try copy(to: "\(directory)/copy")
        try damage(copy)
        let coordinator = try coordinate(endpoint, original)
        let refused = try await work(endpoint, ["--model", copy]).wait(atMost: .seconds(15))
        #expect(refused.status == 1, "\(refused)")
        #expect(refused.errors.contains("worker has other weights"), "\(refused)")
        #expect(refused.errors.contains(copy), "\(refused)")
        #expect(coordinator.isRunning && coordinator.output.isEmpty)
        try await stop([coordinator])
      }
    }

    @Test func `what was pulled from one coordinator is nothing to another`() async throws {
      try await withTemporaryDirectory { directory in
        let copy = try copy(to: "\(directory)/demo-model")
        try damage(copy)
        let item = try Goldens.load("demo-model").cases[0]
        let wanted = Array(item.greedy.prefix(40))
        var answers: [[Int]] = []
        for (round, model) in [copy, original].enumerated() {
          let endpoint = "ipc://\(directory)/front-\(round)"
          let coordinator = try coordinate(endpoint, model)
          let worker = try work(endpoint, ["--cache", "\(directory)/cache"])
          try await coordinator.waitForOutput { $0 == "ready\n" }
          answers.append(try await tokens(endpoint, item.text ?? ""))
          try await stop([coordinator, worker])
        }
        #expect(answers[0] != wanted, "the damage does nothing")
        #expect(answers[1] == wanted)
      }
    }

    @Test func `a file replaced while it is served never meets the old one in a pipeline`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let model = try copy(to: "\(directory)/model")
        let other = try copy(to: "\(directory)/other")
        try damage(other)
        let item = try Goldens.load("demo-model").cases[0]
        let cluster = try await Cluster(in: directory, model: model)
        #expect(unsafe rename(weights(other), weights(model)) == 0)
        let pid = try #require(try await cluster.workerPids().last)
        kill(pid_t(pid), SIGKILL)
        try await cluster.process.waitForErrors(
          "\(weights(model)) was replaced by another file while it was served"
        )
        // The remaining workers have the old file open and take over the lost worker's layers.
        let answer = try await tokens(cluster.endpoint, item.text ?? "")
        #expect(answer == Array(item.greedy.prefix(40)), "\(cluster.process.errors)")
        try await cluster.stop()
      }
    }

    @Test func `a file that is only touched is no other file`() async throws {
      try await withTemporaryDirectory { directory in
        let model = try copy(to: "\(directory)/model")
        let item = try Goldens.load("demo-model").cases[0]
        let cluster = try await Cluster(in: directory, model: model)
        try #require(unsafe utimensat(AT_FDCWD, weights(model), nil, 0) == 0)
        try await cluster.process.waitForErrors("its bytes are the same", times: 3)
        let pid = try #require(try await cluster.workerPids().last)
        kill(pid_t(pid), SIGKILL)
        let answer = try await tokens(cluster.endpoint, item.text ?? "")
        #expect(answer == Array(item.greedy.prefix(40)))
        try await cluster.stop()
      }
    }

    @Test(arguments: [true, false])
    func `a file cut or overwritten while it is served ends the service in words`(
      isCut: Bool
    ) async throws {
      try await withTemporaryDirectory { directory in
        let model = try copy(to: "\(directory)/model")
        let cluster = try await Cluster(in: directory, model: model)
        if isCut {
          try #require(unsafe truncate(weights(model), 5_000_000) == 0)
        } else {
          try damage(model)
        }
        let outcome = try await cluster.process.wait(atMost: .seconds(60))
        #expect(outcome.status == 1, "\(outcome)")
        let change = isCut ? "was cut from 12351224 to 5000000 bytes" : "was written to"
        let last = outcome.errors.split(separator: "\n").last ?? ""
        #expect(last.hasPrefix("error: "), "\(outcome)")
        #expect(last.contains("\(weights(model)) \(change) while it was served"), "\(outcome)")
        #expect(outcome.errors.contains("\(weights(model)) \(change) while it was in use"))
      }
    }

    @Test func `who pulls and never reads costs a few pieces`() async throws {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let coordinator = try coordinate(endpoint, original)
        let context = try ZeroMQContext()
        var sockets: [Socket] = []
        defer {
          for socket in sockets { socket.close() }
          context.close()
        }
        try await coordinator.waitForListening(endpoint)
        for _ in 0..<8 {
          var options = SocketOptions.control
          options.linger = .zero
          let socket = try Socket(context, role: .dealer, options: options)
          try socket.connect(Endpoint(endpoint))
          sockets.append(socket)
        }
        let description = try describe(sockets[0])
        let before = residentBytes(coordinator.pid)
        for round in 0..<400 {
          for socket in sockets {
            let id = ChunkID(file: description.files.count - 1, chunk: round % 40)
            _ = try socket.send(.pull(Pull(model: description.model, id: id)))
          }
          if round.isMultiple(of: 20) { try await Task.sleep(for: .milliseconds(20)) }
        }
        try await Task.sleep(for: .seconds(1))
        let growth = residentBytes(coordinator.pid) - before
        // Eight times 2 MiB in the coordinator, and as much again in the sockets at this end.
        #expect(growth < 48 << 20, "\(growth)")
        try await stop([coordinator])
      }
    }

    private func describe(_ socket: Socket) throws -> ModelDescription {
      let deadline = ContinuousClock.now + .seconds(60)
      while ContinuousClock.now < deadline {
        _ = try socket.send(.describeModel(DescribeModel()))
        _ = try poll(sockets: [socket], timeout: .milliseconds(500))
        while let received = try socket.receive() {
          if case .modelDescription(let description) = try received.content.get().message {
            return description
          }
        }
      }
      throw ProcessError(description: "no description came")
    }

    private func residentBytes(_ pid: pid_t) -> Int {
      let text = (try? String(contentsOfFile: "/proc/\(pid)/statm", encoding: .utf8)) ?? ""
      return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4096
    }
  }
}

extension TrestleProcess {
  /// Waits until a process listens at an ipc endpoint.
  fileprivate func waitForListening(_ endpoint: String) async throws {
    let path = String(endpoint.dropFirst("ipc://".count))
    let listens = try await eventually(within: .seconds(10)) {
      FileManager.default.fileExists(atPath: path)
    }
    try #require(listens, "\(errors)")
  }
}
