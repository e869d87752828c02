// Many clients at once: each gets what it would get alone, and the end of one session affects no
// other.

import Glibc
import TestSupport
import Testing

/// A prompt whose answer with this seed is long: several hundred tokens in at least two seconds.
private let longPrompt = "KING RICHARD III:\nMy lord, "
private let longOptions = [
  "--raw", "--temperature", "0.8", "--seed", "2", "--max-tokens", "500",
]

extension Integration {
  @Suite struct `Sessions` {
    @Test func `eight clients at once get the tokens that each gets alone`() async throws {
      let prompts = try Goldens.load("demo-model").cases.map { $0.text ?? "" }
      try await withCluster { cluster in
        func start(_ index: Int) throws -> TrestleProcess {
          let options = ["--raw", "--temperature", "0.9", "--max-tokens", "40", "--json"]
          return try cluster.start(prompts[index], options + ["--seed", "\(index)"])
        }
        func tokens(_ client: TrestleProcess) async throws -> [Int] {
          try await client.wait().document(RunDocument.self).tokens
        }
        var alone: [[Int]] = []
        for index in prompts.indices { alone.append(try await tokens(start(index))) }
        let clients = try prompts.indices.map(start)
        for (index, client) in clients.enumerated() {
          #expect(try await tokens(client) == alone[index], "client \(index)")
        }
        #expect(Set(alone).count == prompts.count)
      }
    }

    @Test func `clients beyond the slots wait for their turn`() async throws {
      let item = try Goldens.load("demo-model").cases[0]
      try await withCluster(Cluster.threeWorkers + ["--slots", "1"]) { cluster in
        let clients = try (0..<4).map { _ in
          try cluster.start(item.text ?? "", item.runOptions(tokens: 40) + ["--json"])
        }
        for client in clients {
          let got: RunDocument = try await client.wait().document()
          #expect(got.tokens == item.greedy)
        }
      }
    }

    @Test func `Ctrl-C ends one request alone`() async throws {
      try await withCluster(Cluster.threeWorkers + ["--slots", "2"]) { cluster in
        let alone = try await cluster.run(longPrompt, longOptions)
        let interrupted = try cluster.start(longPrompt, longOptions)
        let other = try cluster.start(longPrompt, longOptions + ["--json"])
        try await interrupted.waitForOutput { $0.count > 40 }
        interrupted.signal(SIGINT)
        let outcome = try await interrupted.wait(atMost: .seconds(3))
        #expect(outcome.status == 130, "\(outcome)")
        #expect(outcome.errors.isEmpty, "\(outcome)")
        let shown = outcome.output.dropLast()
        #expect(alone.text.hasPrefix(shown) && shown.count < alone.text.count)
        #expect(other.isRunning, "the other was to run longer than the interrupted one")
        let whole: RunDocument = try await other.wait().document()
        #expect(whole.tokens == alone.tokens)
        try await expectFreeSlots(cluster)
      }
    }

    @Test func `an interrupted client that wants JSON gets it, as cancelled`() async throws {
      try await withCluster { cluster in
        let client = try cluster.start(longPrompt, longOptions + ["--json"])
        #expect(
          try await eventually(within: .seconds(5)) { try await cluster.status().sessions == 1 }
        )
        client.signal(SIGINT)
        let outcome = try await client.wait(atMost: .seconds(3))
        #expect(outcome.status == 130, "\(outcome)")
        #expect(try outcome.document(RunDocument.self).finishReason == "cancelled")
      }
    }

    @Test func `a client that is killed leaves its slot`() async throws {
      try await withCluster(Cluster.threeWorkers + ["--slots", "2"]) { cluster in
        let clients = try (0..<2).map { _ in try cluster.start(longPrompt, longOptions) }
        for client in clients { try await client.waitForOutput { $0.count > 20 } }
        for client in clients { client.signal(SIGKILL) }
        let isFree = try await eventually(within: .seconds(2)) {
          try await cluster.status().sessions == 0
        }
        #expect(isFree, "their sessions are still served")
        try await expectFreeSlots(cluster)
      }
    }

    /// Expects that both slots are free: two clients at once get their usual answers.
    private func expectFreeSlots(_ cluster: Cluster) async throws {
      let item = try Goldens.load("demo-model").cases[0]
      let clients = try (0..<2).map { _ in
        try cluster.start(item.text ?? "", item.runOptions(tokens: 40))
      }
      for client in clients {
        let outcome = try await client.wait(atMost: .seconds(5))
        #expect(outcome.output == (item.greedyText ?? "") + "\n", "\(outcome)")
      }
      #expect(try await cluster.status().sessions == 0)
    }
  }
}
