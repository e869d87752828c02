// Logits that are cut between worker processes: they have the same bits as in one process, even
// while the cut moves and when a worker that holds only logits dies.

import Foundation
import Glibc
import TestSupport
import Testing

private let prompt = "KING RICHARD III:\nMy lord, "

private func options(seed: Int) -> [String] {
  ["--raw", "--temperature", "0.8", "--seed", "\(seed)", "--max-tokens", "400", "--json"]
}

/// Two workers, of which the second holds three quarters of the logits and no layer.
private let cutCluster = [
  "--devices", "cpu,cpu", "--split", "30,0", "--logits-split", "1,3", "--threads", "1,1",
]

extension Integration {
  @Suite struct `Cut logits` {
    private func logits(_ ids: [Int], _ options: [String]) async throws -> NPYFile {
      try await withTemporaryDirectory { directory in
        let path = "\(directory)/logits.npy"
        let outcome = try await TrestleProcess.run(
          [
            "logits", "--model", Goldens.demoModel.path, "--tokens",
            ids.map(String.init).joined(separator: ","), "--output", path,
          ] + options
        )
        try #require(outcome.status == 0, "\(outcome)")
        return try NPYFile(path)
      }
    }

    @Test func `every cut gives the bits of a single process`() async throws {
      let ids = try #require(try Goldens.load("demo-model").cases.first).ids
      let whole = try await logits(ids, ["--devices", "cpu", "--threads", "1"])
      #expect(whole.shape == [ids.count, 1024])
      for (split, parts) in [("30,0", "1,3"), ("12,18,0", "2,1"), ("30,0,0", "0,1,1")] {
        let devices = split.split(separator: ",").map { _ in "cpu" }.joined(separator: ",")
        let threads = split.split(separator: ",").map { _ in "1" }.joined(separator: ",")
        let cut = try await logits(
          ids,
          [
            "--devices", devices, "--threads", threads, "--split", split, "--logits-split", parts,
          ]
        )
        #expect(
          cut.values.map(\.bitPattern) == whole.values.map(\.bitPattern),
          "split \(split), logits \(parts)"
        )
      }
    }

    @Test func `status shows who has which rows, and every token is the single process's`()
      async throws
    {
      let alone = ["--devices", "cpu", "--split", "30", "--threads", "1"]
      var wanted: [RunDocument] = []
      try await withCluster(alone) { cluster in
        for seed in 0..<2 { wanted.append(try await cluster.run(prompt, options(seed: seed))) }
      }
      try await withCluster(cutCluster) { cluster in
        for (seed, want) in wanted.enumerated() {
          let got = try await cluster.run(prompt, options(seed: seed))
          #expect(got.tokens == want.tokens && got.text == want.text)
          #expect(got.placement.map(\.layers) == [[0, 30], [30, 30]])
          #expect(got.placement.map(\.vocabulary) == [[0, 256], [256, 1024]])
        }
        let status = try await cluster.status()
        #expect(status.workers.map(\.layers) == [[0, 30], [30, 30]])
        #expect(status.workers.map(\.vocabulary) == [[0, 256], [256, 1024]])
        #expect(status.workers.allSatisfy { $0.state == "ready" })
        let text = try await TrestleProcess.run(["status", "--endpoint", cluster.endpoint]).output
        #expect(text.contains("256..<1024"), "\(text)")
      }
    }

    @Test func `the cut moves under live streams, there and back, and no token changes`()
      async throws
    {
      let threads = ["--devices", "cpu,cpu,cpu", "--split", "10,10,10", "--threads", "1,1,1"]
      try await withCluster(threads) { cluster in
        var wanted: [[Int]] = []
        for seed in 0..<3 {
          wanted.append(try await cluster.run(prompt, options(seed: seed)).tokens)
        }
        let streams = try (0..<3).map { try cluster.start(prompt, options(seed: $0)) }
        let areRunning = try await eventually(within: .seconds(5)) {
          try await cluster.status().sessions == 3
        }
        try #require(areRunning)
        let before = try await cluster.status().epoch
        var vocabularies: [[[Int]]] = []
        for arguments in [
          ["--split", "20,10,0", "--logits-split", "1,1"],
          ["--split", "20,10,0", "--logits-split", "0,1"],
          ["--split", "30,0,0", "--logits-split", "1,1,2"],
          ["--split", "10,10,10"],
        ] {
          let outcome = try await TrestleProcess.run(
            ["rebalance", "--json", "--endpoint", cluster.endpoint] + arguments
          )
          try #require(outcome.status == 0, "\(arguments): \(outcome)")
          vocabularies.append(try await cluster.status().workers.map(\.vocabulary))
        }
        #expect(
          vocabularies == [
            [[0, 0], [0, 512], [512, 1024]], [[0, 0], [0, 0], [0, 1024]],
            [[0, 256], [256, 512], [512, 1024]], [[0, 0], [0, 0], [0, 1024]],
          ]
        )
        #expect(try await cluster.status().epoch == before + 4)
        for (stream, tokens) in zip(streams, wanted) {
          let document: RunDocument = try await stream.wait().document()
          #expect(document.tokens == tokens)
        }
      }
    }

    @Test func `the worker that only has logits is killed in mid-generation, and no token changes`()
      async throws
    {
      try await withCluster(cutCluster) { cluster in
        let undisturbed = try await cluster.run(prompt, options(seed: 2))
        let before = try await cluster.workerPids()
        let stream = try cluster.start(prompt, options(seed: 2).filter { $0 != "--json" })
        try await stream.waitForOutput { $0.count > 60 }
        kill(pid_t(before[1]), SIGKILL)
        #expect(stream.isRunning, "the worker was to be lost before the end")
        #expect(try await stream.wait().output == undisturbed.text + "\n")
        try await cluster.waitUntilHealthy()
        let after = try await cluster.workerPids()
        #expect(after[0] == before[0] && after[1] != before[1])
        #expect(try await cluster.status().workers.map(\.vocabulary) == [[0, 256], [256, 1024]])
      }
    }

    @Test func `a cut that does not fit is refused with what would`() async throws {
      let model = [
        "logits", "--model", Goldens.demoModel.path, "--tokens", "2", "--output", "/dev/null",
      ]
      for (arguments, status, part) in [
        (["--devices", "cpu,cpu", "--split", "30,0"], 1, "split 30,0 has a stage without layers"),
        (
          ["--devices", "cpu,cpu", "--split", "20,10", "--logits-split", "1,3"], 1,
          "logits split 1,3 has 2 numbers; from the stage with the last layer on there are 1"
        ),
        (
          ["--devices", "cpu,cpu", "--split", "30,0", "--logits-split", "1,0"], 1,
          "logits split 1,0 leaves a stage without layers and vocabulary rows"
        ),
        (["--logits-split", "1,3"], 64, "--logits-split 1,3: this option needs --split"),
      ] as [([String], Int, String)] {
        let outcome = try await TrestleProcess.run(model + arguments)
        #expect(outcome.status == status && outcome.errors.contains(part), "\(outcome)")
      }
      try await withCluster(cutCluster) { cluster in
        let outcome = try await TrestleProcess.run([
          "rebalance", "--split", "30,0", "--logits-split", "1,1,1", "--endpoint",
          cluster.endpoint,
        ])
        #expect(outcome.status == 1, "\(outcome)")
        #expect(outcome.errors.contains("there are 2, give one for each"), "\(outcome)")
        #expect(try await cluster.status().epoch == 1)
      }
    }

    @Test func `inspect shows the program of a stage that only has logits`() async throws {
      let outcome = try await TrestleProcess.run([
        "inspect", Goldens.demoModel.path, "--program", "30..<30", "--vocabulary", "256..<1024",
      ])
      #expect(outcome.status == 0, "\(outcome)")
      #expect(outcome.output.contains("program: layers 30..<30, vocabulary 256..<1024"))
      #expect(outcome.output.contains("logits(%merged) embed_tokens[768×"), "\(outcome.output)")
      let wrong = try await TrestleProcess.run([
        "inspect", Goldens.demoModel.path, "--program", "29..<30", "--vocabulary", "256..<1024",
      ])
      #expect(wrong.status == 1 && wrong.errors.contains("--vocabulary 256..<1024"), "\(wrong)")
    }
  }
}
