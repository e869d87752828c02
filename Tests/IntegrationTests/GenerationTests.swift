// The output of `run` for a prompt, compared with the answers of the reference implementation.

import Foundation
import TestSupport
import Testing

extension Integration {
  @Suite struct `Generation` {
    private let endOfTurn = [1, 6]

    /// Returns the golden's tokens up to the end of the turn, where `run` stops.
    private func answer(_ item: Golden.Case) -> [Int] {
      let certain = item.certainGreedy()
      return Array(certain.prefix { !endOfTurn.contains($0) })
    }

    @Test func `three workers give the reference implementation's tokens and text`() async throws {
      let golden = try Goldens.load("demo-model")
      try await withCluster { cluster in
        for item in golden.cases {
          let want = answer(item)
          let got = try await cluster.run(item.text ?? "", item.runOptions(tokens: want.count + 1))
          #expect(Array(got.tokens.prefix(want.count)) == want, "\(item)")
          #expect(got.promptTokens == item.ids.count, "\(item)")
          let endsTurn = item.greedy.dropFirst(want.count).first.map(endOfTurn.contains) ?? false
          #expect(got.finishReason == (endsTurn ? "stop" : "length"), "\(item)")
          guard endsTurn else { continue }
          #expect(got.tokens == want, "\(item)")
          #expect(item.greedyText?.hasPrefix(got.text + "<end_of_turn>") == true, "\(item)")
        }
      }
    }

    @Test func `the JSON document tells text, time and place, and streaming prints the same`()
      async throws
    {
      let item = try Goldens.load("demo-model").cases[0]
      try await withCluster { cluster in
        let options = item.runOptions(tokens: item.greedy.count)
        let got = try await cluster.run(item.text ?? "", options)
        #expect(got.tokens == item.greedy)
        #expect(got.text == item.greedyText)
        #expect(got.finishReason == "length")
        #expect(
          got.placement == [
            PlacementRow(worker: "cpu-0", device: "cpu", layers: [0, 10], vocabulary: [0, 0]),
            PlacementRow(worker: "cpu-1", device: "cpu", layers: [10, 20], vocabulary: [0, 0]),
            PlacementRow(worker: "cpu-2", device: "cpu", layers: [20, 30], vocabulary: [0, 1024]),
          ]
        )
        let timing = got.timing
        #expect(timing.ttftMs > 0 && timing.totalMs >= timing.ttftMs)
        #expect(timing.prefillTokensPerSecond > 0 && timing.decodeTokensPerSecond > 0)
        let streamed = try await cluster.start(item.text ?? "", options).wait()
        #expect(streamed.status == 0, "\(streamed)")
        #expect(streamed.output == got.text + "\n")
      }
    }

    @Test func `instructions are the first message of the chat`() async throws {
      try await withCluster { cluster in
        let got = try await cluster.run(
          "Who art thou?",
          ["--system", "Speak as a king.", "--temperature", "0", "--max-tokens", "12"]
        )
        // What the model's template makes of these two messages, written out.
        let written =
          "<start_of_turn>user\nSpeak as a king.\n\nWho art thou?<end_of_turn>\n"
          + "<start_of_turn>model\n"
        let want = try await cluster.run(
          written,
          ["--raw", "--special", "--temperature", "0", "--max-tokens", "12"]
        )
        #expect(got.tokens == want.tokens && !got.tokens.isEmpty)
        #expect(got.promptTokens == want.promptTokens)
      }
    }

    @Test func `with a model and nothing running, run starts a pipeline of its own`() async throws {
      let item = try Goldens.load("demo-model").cases[0]
      let process = try TrestleProcess(
        ["run", "--model", Goldens.demoModel.path] + Cluster.threeWorkers
          + item.runOptions(tokens: 40) + ["--json", item.text ?? ""]
      )
      let pipeline = try await PrivatePipeline(of: process, workerCount: 3)
      let outcome = try await process.wait()
      let got: RunDocument = try outcome.document()
      #expect(got.tokens == item.greedy)
      #expect(got.placement.map(\.layers) == [[0, 10], [10, 20], [20, 30]])
      #expect(outcome.errors.isEmpty, "\(outcome)")
      pipeline.expectGone()
    }

    @Test func `up and its clients find one another without naming an endpoint`() async throws {
      try await withTemporaryDirectory { directory in
        let environment = ["XDG_RUNTIME_DIR": directory]
        let up = try TrestleProcess(
          ["up", "--model", Goldens.demoModel.path] + Cluster.threeWorkers,
          environment: environment
        )
        try await up.waitForOutput { $0 == "ready\n" }
        let outcome = try await TrestleProcess.run(
          ["run", "--temperature", "0", "Who are you?"],
          environment: environment
        )
        #expect(outcome.output == "I am too bold, sir.\n", "\(outcome)")
        for command in ["status", "health"] {
          let outcome = try await TrestleProcess.run([command], environment: environment)
          #expect(outcome.status == 0 && outcome.output.contains("cpu-2"), "\(outcome)")
        }
      }
    }

    @Test func `a stop string ends the text before it`() async throws {
      let item = try Goldens.load("demo-model").cases[0]
      let text = try #require(item.greedyText)
      try await withCluster { cluster in
        // A stop string across tokens, one across a line end, two at once (the earlier in the text
        // wins), and one that does not occur.
        for stops in [["them of"], ["king,\nAnd"], ["ordered", "therefore"], ["no such text"]] {
          let got = try await cluster.run(
            item.text ?? "",
            item.runOptions(tokens: item.greedy.count) + stops.flatMap { ["--stop", $0] }
          )
          let found = stops.compactMap { text.range(of: $0)?.lowerBound }.min()
          #expect(got.text == String(text[..<(found ?? text.endIndex)]), "\(stops)")
          #expect(got.finishReason == (found == nil ? "length" : "stop"), "\(stops)")
          #expect(
            got.stop == stops.first { text.range(of: $0)?.lowerBound == found && found != nil }
          )
        }
      }
    }

    @Test func `a prompt on stdin is the same as one in the arguments`() async throws {
      try await withCluster { cluster in
        let options = ["--temperature", "0", "--endpoint", cluster.endpoint]
        let prompt = "What news, my lord? — café 😀"
        let argument = try await TrestleProcess.run(["run"] + options + [prompt])
        let input = try await TrestleProcess.run(
          ["run"] + options + ["-"],
          input: Array(prompt.utf8)
        )
        #expect(argument.status == 0 && !argument.output.isEmpty, "\(argument)")
        #expect(input.output == argument.output, "\(input)")
        let invalid = try await TrestleProcess.run(
          ["run"] + options + ["-"],
          input: [0x61, 0xFF, 0xC3]
        )
        #expect(invalid.status == 1, "\(invalid)")
        #expect(invalid.errors == "error: the text on stdin is not valid UTF-8\n")
      }
    }

    @Test
    func `a full context ends the answer, and a prompt beyond it is refused with both numbers`()
      async throws
    {
      let cases = try Goldens.load("demo-model").cases
      try await withCluster(Cluster.threeWorkers + ["--context", "32"]) { cluster in
        let got = try await cluster.run(cases[0].text ?? "", cases[0].runOptions(tokens: 40))
        #expect(got.finishReason == "length")
        #expect(got.tokens == Array(cases[0].greedy.prefix(32 - cases[0].ids.count)))
        let long = cases[4]
        let refused = try await cluster.start(long.text ?? "", ["--raw"]).wait()
        #expect(refused.status == 1, "\(refused)")
        #expect(refused.errors.contains("\(long.ids.count) tokens"), "\(refused)")
        #expect(refused.errors.contains("holds 32"), "\(refused)")
      }
    }

    @Test func `the same seed gives the same text, another seed another`() async throws {
      try await withCluster { cluster in
        let prompt = "KING RICHARD III:\nMy lord, "
        let options = ["--raw", "--temperature", "0.8", "--max-tokens", "48", "--seed"]
        let one = try await cluster.run(prompt, options + ["1"])
        let again = try await cluster.run(prompt, options + ["1"])
        let other = try await cluster.run(prompt, options + ["2"])
        #expect(one.tokens == again.tokens && one.text == again.text)
        #expect(one.tokens != other.tokens && one.text != other.text)
      }
    }
  }
}
