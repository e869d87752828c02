// Workers without a model file, which pull their layers' weights from the coordinator.

import Foundation
import Glibc
import TestSupport
import Testing
import Wire

/// A report of a pull in a worker's log.
private struct PullReport {
  var what: String
  var pulledBytes: Int
  var bytes: Int
  var mendedPieces: Int

  /// Returns the reports of a running worker as soon as the last is about this.
  static func all(_ worker: TrestleProcess, until what: String) async throws -> [PullReport] {
    let isThere = try await eventually(within: .seconds(10)) {
      all(worker.errors).last?.what == what
    }
    try #require(isThere, "\(worker.errors)")
    return all(worker.errors)
  }

  /// Returns the reports in a worker's log.
  static func all(_ log: String) -> [PullReport] {
    log.split(separator: "\n").compactMap { line in
      guard line.hasSuffix("weights pulled") || line.hasSuffix("weights found in the cache"),
        let what = line.firstMatch(of: #/what=(headers|layers \d+\.\.<\d+)/#),
        let pulled = line.firstMatch(of: #/pulled_bytes=(\d+)/#).flatMap({ Int($0.output.1) }),
        let bytes = line.firstMatch(of: #/ bytes=(\d+)/#).flatMap({ Int($0.output.1) }),
        let mended = line.firstMatch(of: #/mended_pieces=(\d+)/#).flatMap({ Int($0.output.1) })
      else { return nil }
      return PullReport(
        what: String(what.output.1),
        pulledBytes: pulled,
        bytes: bytes,
        mendedPieces: mended
      )
    }
  }

  static func pulledBytes(_ log: String) -> Int { all(log).reduce(0) { $0 + $1.pulledBytes } }
}

extension Integration {
  @Suite struct `Pulled weights` {
    private func coordinate(
      _ endpoint: String,
      model: String = Goldens.demoModel.path,
      split: String = "24,6",
      _ options: [String] = []
    ) throws -> TrestleProcess {
      try TrestleProcess(
        ["coordinate", "--model", model, "--endpoint", endpoint, "--devices", "cpu,cpu"]
          + ["--split", split] + options
      )
    }

    private func work(
      _ endpoint: String,
      _ name: String,
      cache: String,
      _ options: [String] = []
    ) throws -> TrestleProcess {
      try TrestleProcess(
        ["work", "--device", "cpu", "--threads", "1", "--coordinator", endpoint]
          + ["--name", name, "--cache", cache] + options
      )
    }

    private func run(
      _ endpoint: String,
      _ prompt: String,
      _ options: [String] = []
    ) async throws -> [Int] {
      let outcome = try await TrestleProcess.run(
        ["run", "--endpoint", endpoint, "--raw", "--temperature", "0", "--json"]
          + ["--max-tokens", "40"] + options + ["--", prompt]
      )
      return try outcome.document(RunDocument.self).tokens
    }

    private func stop(_ coordinator: TrestleProcess, _ workers: [TrestleProcess]) async throws {
      coordinator.signal(SIGTERM)
      for process in [coordinator] + workers {
        let outcome = try await process.wait(atMost: .seconds(8))
        #expect(outcome.status == 0, "\(outcome)")
      }
    }

    /// Returns the path of a cache's largest file, its size, and its size on the disk; empty if
    /// there is none.
    private func largest(_ cache: String) -> (path: String, size: Int, allocated: Int) {
      var found: (path: String, size: Int, allocated: Int) = ("", 0, 0)
      let names = FileManager.default.enumerator(atPath: cache)
      while let name = names?.nextObject() as? String {
        var status = stat()
        guard unsafe stat("\(cache)/\(name)", &status) == 0, status.st_mode & S_IFMT == S_IFREG,
          status.st_size > found.size
        else { continue }
        found = ("\(cache)/\(name)", Int(status.st_size), Int(status.st_blocks) * 512)
      }
      return found
    }

    @Test func `workers without a model give the tokens that one process gives`() async throws {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let item = try Goldens.load("demo-model").cases[0]
        let caches = ["\(directory)/a", "\(directory)/b"]
        var before: [Int] = []
        for round in 0..<2 {
          let coordinator = try coordinate(endpoint)
          let workers = try zip(["cpu-0", "cpu-1"], caches).map {
            try work(endpoint, $0, cache: $1)
          }
          try await coordinator.waitForOutput { $0 == "ready\n" }
          #expect(try await run(endpoint, item.text ?? "") == Array(item.greedy.prefix(40)))
          try await stop(coordinator, workers)
          let pulled = workers.map { PullReport.pulledBytes($0.errors) }
          if round == 0 {
            before = pulled
            // The worker has six of thirty layers: the cache holds only what was pulled.
            let file = largest(caches[1])
            #expect(file.size == 12_351_224)
            #expect(file.allocated < file.size / 2, "\(file)")
            #expect(pulled[1] < file.size / 2 && pulled[1] > file.size / 10, "\(pulled)")
            #expect(pulled[0] > file.size / 2 && pulled[0] < file.size, "\(pulled)")
          } else {
            #expect(pulled == [0, 0], "\(workers.map(\.errors)), first \(before)")
          }
          #expect(PullReport.all(workers[1].errors).map(\.what) == ["headers", "layers 24..<30"])
        }
      }
    }

    @Test func `a worker that is killed while it pulls goes on where it stopped`() async throws {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let cache = "\(directory)/cache"
        let coordinator = try coordinate(endpoint)
        let other = try work(endpoint, "cpu-1", cache: "\(directory)/other")
        // Four pieces a second, so pulling the slice takes more than ten seconds.
        let first = try work(endpoint, "cpu-0", cache: cache, ["--pull-rate", "1"])
        let isUnderWay = try await eventually(within: .seconds(10)) {
          largest(cache).allocated > 1 << 20
        }
        try #require(isUnderWay, "\(first.errors)")
        #expect(coordinator.output.isEmpty)
        // The worker reports its progress and is not given up.
        let status = try await TrestleProcess.run(["status", "--json", "--endpoint", endpoint])
        let states = try status.document(StatusDocument.self).workers.map(\.state)
        #expect(states.contains("loading"), "\(states)")
        first.signal(SIGKILL)
        #expect(try await first.wait(atMost: .seconds(2)).signal == Int(SIGKILL))
        let kept = largest(cache).allocated
        try await coordinator.waitForErrors("worker lost")
        let second = try work(endpoint, "cpu-0", cache: cache)
        try await coordinator.waitForOutput { $0 == "ready\n" }
        let report = try #require(try await PullReport.all(second, until: "layers 0..<24").last)
        #expect(report.pulledBytes <= report.bytes - (kept - (1 << 19)), "\(report), \(kept)")
        #expect(report.pulledBytes > 0)
        let item = try Goldens.load("demo-model").cases[0]
        #expect(try await run(endpoint, item.text ?? "") == Array(item.greedy.prefix(40)))
        try await stop(coordinator, [second, other])
      }
    }

    @Test func `a worker that is asked to stop while it pulls stops at once`() async throws {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let coordinator = try coordinate(endpoint)
        let other = try work(endpoint, "cpu-1", cache: "\(directory)/other")
        let worker = try work(endpoint, "cpu-0", cache: "\(directory)/c", ["--pull-rate", "0.5"])
        let isUnderWay = try await eventually(within: .seconds(10)) {
          largest("\(directory)/c").allocated > 1 << 19
        }
        try #require(isUnderWay, "\(worker.errors)")
        worker.signal(SIGTERM)
        #expect(try await worker.wait(atMost: .seconds(2)).status == 0)
        try await stop(coordinator, [other])
      }
    }

    @Test func `a byte that has changed on the disk is noticed and mended`() async throws {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let item = try Goldens.load("demo-model").cases[1]
        let cache = "\(directory)/cache"
        for round in 0..<2 {
          let coordinator = try coordinate(endpoint)
          // Two workers of one machine share a cache.
          let workers = try ["cpu-0", "cpu-1"].map { try work(endpoint, $0, cache: cache) }
          try await coordinator.waitForOutput { $0 == "ready\n" }
          #expect(try await run(endpoint, item.text ?? "") == Array(item.greedy.prefix(40)))
          try await stop(coordinator, workers)
          let reports = workers.flatMap { PullReport.all($0.errors) }
          #expect(reports.reduce(0) { $0 + $1.mendedPieces } == (round == 0 ? 0 : 1), "\(reports)")
          guard round == 0 else {
            #expect(reports.reduce(0) { $0 + $1.pulledBytes } == 256 << 10, "\(reports)")
            return
          }
          // The offset is in the middle of the layers, which only one worker uses.
          let file = largest(cache)
          let handle = try #require(FileHandle(forUpdatingAtPath: file.path))
          try handle.seek(toOffset: UInt64(file.size / 2))
          let byte = try #require(handle.read(upToCount: 1)?.first)
          try handle.seek(toOffset: UInt64(file.size / 2))
          try handle.write(contentsOf: [byte ^ 1])
          try handle.close()
        }
      }
    }

    @Test func `layers that move to a worker are pulled while the streams go on`() async throws {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let coordinator = try coordinate(endpoint)
        let workers = try ["cpu-0", "cpu-1"].map {
          try work(endpoint, $0, cache: "\(directory)/\($0)")
        }
        try await coordinator.waitForOutput { $0 == "ready\n" }
        let options = ["--endpoint", endpoint, "--raw", "--seed", "3", "--max-tokens", "600"]
        let prompt = ["--json", "--", "KING RICHARD III:\nMy lord, "]
        let wanted: RunDocument = try await TrestleProcess.run(["run"] + options + prompt)
          .document()
        let stream = try TrestleProcess(["run"] + options + prompt)
        let moved = try await TrestleProcess.run(
          ["rebalance", "--split", "10,20", "--endpoint", endpoint]
        )
        #expect(moved.status == 0, "\(moved)")
        let got: RunDocument = try await stream.wait().document()
        #expect(got.tokens == wanted.tokens)
        let reports = try await PullReport.all(workers[1], until: "layers 10..<30")
        #expect(reports.map(\.what) == ["headers", "layers 24..<30", "layers 10..<30"])
        // What it had in its cache is not pulled again.
        #expect(reports.last.map { $0.pulledBytes < $0.bytes * 3 / 4 } == true, "\(reports)")
        try await stop(coordinator, workers)
      }
    }

    @Test(arguments: ["gemma3n-random-c", "gemma3-random-b"])
    func `a model in shards, or with towers, gives the same logits`(name: String) async throws {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let model = Goldens.checkpoint(name).path
        let layers = try await layerCount(model)
        let split = "2,\(layers - 2)"
        let local = try coordinate(endpoint, model: model, split: split)
        let localWorkers = try (0..<2).map { _ in
          try TrestleProcess(
            ["work", "--model", model, "--device", "cpu", "--threads", "1"]
              + ["--coordinator", endpoint]
          )
        }
        try await local.waitForOutput { $0 == "ready\n" }
        let wanted = try logits(endpoint)
        try await stop(local, localWorkers)
        let coordinator = try coordinate(endpoint, model: model, split: split)
        let workers = try ["cpu-0", "cpu-1"].map {
          try work(endpoint, $0, cache: "\(directory)/\($0)")
        }
        try await coordinator.waitForOutput { $0 == "ready\n" }
        #expect(try logits(endpoint) == wanted)
        try await stop(coordinator, workers)
      }
    }

    private func layerCount(_ model: String) async throws -> Int {
      struct Inspected: Decodable {
        struct Layer: Decodable {}
        var layers: [Layer]
      }
      return try await TrestleProcess.run(["inspect", "--json", model])
        .document(Inspected.self).layers.count
    }

    /// Returns the logits of some tokens; these models have no tokenizer.
    private func logits(_ endpoint: String) throws -> [[Float]] {
      let context = try ZeroMQContext()
      defer { context.close() }
      let socket = try Socket(context, role: .dealer)
      defer { socket.close() }
      try socket.connect(try Endpoint(endpoint))
      let tokens: [Int32] = [2, 7, 11, 13, 5]
      let request = Evaluate(request: 1, tokens: tokens, kind: .logits, firstScored: 0)
      _ = try socket.send(.evaluate(request))
      var rows: [[Float]] = []
      let deadline = ContinuousClock.now + .seconds(60)
      while ContinuousClock.now < deadline {
        _ = try poll(sockets: [socket], timeout: .milliseconds(100))
        while let received = try socket.receive() {
          let (message, payloads) = try received.content.get()
          guard case .evaluated(let part) = message else { continue }
          rows += payloads
          if part.isLast { return rows }
        }
      }
      throw ProcessError(description: "no logits came")
    }

    @Test func `weights come over tcp to those who are allowed, and to nobody else`() async throws {
      try await withTemporaryDirectory { directory in
        let hub = try await Machine("hub", in: directory)
        let east = try await Machine("east", in: directory)
        let stranger = try await Machine("stranger", in: directory)
        try await hub.allow(east, name: "east")
        let endpoint = "tcp://127.0.0.1:\(try freePort())"
        let coordinator = try coordinate(endpoint, ["--keys", hub.directory])
        let listen = ["--listen", "tcp://127.0.0.1:*"]
        let refused = try work(
          endpoint,
          "cpu-0",
          cache: "\(directory)/stranger-cache",
          listen + stranger.options(to: hub)
        )
        try await coordinator.waitForErrors("unknown key \(stranger.publicKey)")
        let workers = try ["cpu-0", "cpu-1"].map {
          try work(endpoint, $0, cache: "\(directory)/\($0)", listen + east.options(to: hub))
        }
        try await coordinator.waitForOutput { $0 == "ready\n" }
        let item = try Goldens.load("demo-model").cases[0]
        #expect(
          try await run(endpoint, item.text ?? "", east.options(to: hub))
            == Array(item.greedy.prefix(40))
        )
        #expect(!FileManager.default.fileExists(atPath: "\(directory)/stranger-cache"))
        refused.signal(SIGTERM)
        #expect(try await refused.wait(atMost: .seconds(2)).status == 0)
        try await stop(coordinator, workers)
      }
    }

    @Test func `a cache that cannot be made is named, and so are options without sense`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let coordinator = try coordinate(endpoint)
        let worker = try await work(endpoint, "cpu-0", cache: "/proc/nothing").wait()
        #expect(worker.status == 1, "\(worker)")
        #expect(worker.errors.contains("/proc/nothing"), "\(worker)")
        let both = try await work(
          endpoint,
          "cpu-0",
          cache: directory,
          ["--model", Goldens.demoModel.path]
        ).wait()
        #expect(both.errors.contains("--cache and --pull-rate cannot be used with --model"))
        let rate = try await work(endpoint, "cpu-0", cache: directory, ["--pull-rate", "0"]).wait()
        #expect(rate.errors.contains("--pull-rate 0"), "\(rate)")
        coordinator.signal(SIGTERM)
        #expect(try await coordinator.wait(atMost: .seconds(8)).status == 0)
      }
    }
  }
}
