// Thoughts and suppressed tokens through real processes. The model is the demo model with other names for some
// of its tokens: where it would write one of them, it begins or ends a thought.

import Foundation
import TestSupport
import Testing

extension Integration {
  @Suite struct `Thinking` {
    /// A continuation of the demo model, and the tokens in it that become marks.
    private struct Story {
      var prompt: String
      var answer: [Int]
      var start: Int
      var end: Int
    }

    private func story() throws -> Story {
      let item = try #require(try Goldens.load("demo-model").cases.first { $0.kind != "chat" })
      let answer = Array(item.certainGreedy().prefix(24))
      let start = answer[3]
      let end = try #require(
        answer.dropFirst(7).first { $0 != start && !answer.prefix(4).contains($0) }
      )
      return Story(prompt: try #require(item.text), answer: answer, start: start, end: end)
    }

    /// Writes a copy of the demo model with other names of tokens, and with some suppressed.
    private func write(
      to directory: String,
      renaming names: [Int: String] = [:],
      suppressing tokens: [Int] = []
    ) throws {
      func read(_ name: String) throws -> [String: Any] {
        let data = try Data(contentsOf: Goldens.demoModel.appending(path: name))
        return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
      }
      func write(_ object: [String: Any], _ name: String) throws {
        try JSONSerialization.data(withJSONObject: object)
          .write(to: URL(filePath: "\(directory)/\(name)"))
      }
      for name in ["config.json", "tokenizer_config.json", "model.safetensors"] {
        try FileManager.default.copyItem(
          atPath: Goldens.demoModel.appending(path: name).path,
          toPath: "\(directory)/\(name)"
        )
      }
      var generation = try read("generation_config.json")
      generation["suppress_tokens"] = tokens
      try write(generation, "generation_config.json")
      var tokenizer = try read("tokenizer.json")
      var model = try #require(tokenizer["model"] as? [String: Any])
      let vocabulary = try #require(model["vocab"] as? [String: Int])
      let renamed = vocabulary.map { (names[$0.value] ?? $0.key, $0.value) }
      model["vocab"] = Dictionary(uniqueKeysWithValues: renamed)
      let gone = Set(vocabulary.filter { names[$0.value] != nil }.keys)
      let merges = try #require(model["merges"] as? [[String]])
      model["merges"] = merges.filter { gone.isDisjoint(with: $0 + [$0.joined()]) }
      tokenizer["model"] = model
      let added = try #require(tokenizer["added_tokens"] as? [[String: Any]])
      tokenizer["added_tokens"] =
        added.filter { !names.keys.contains($0["id"] as? Int ?? -1) }
        + names.map { ["id": $0.key, "content": $0.value, "special": true, "normalized": false] }
      try write(tokenizer, "tokenizer.json")
    }

    /// Returns the text of tokens in the demo model's own words.
    private func text(_ tokens: [Int]) async throws -> String {
      if tokens.isEmpty { return "" }
      let ids = tokens.map(String.init).joined(separator: ",")
      let outcome = try await TrestleProcess.run(
        ["detokenize", "--model", Goldens.demoModel.path, "--tokens", ids]
      )
      #expect(outcome.status == 0, "\(outcome)")
      return String(outcome.output.dropLast())
    }

    @Test func `what the model thinks is shown apart from its answer`() async throws {
      let story = try story()
      var thought: [Int] = []
      var said: [Int] = []
      var (isThought, count) = (false, 0)
      for token in story.answer {
        if isThought || token == story.start { count += 1 }
        if token == story.start || token == story.end {
          isThought = token == story.start
        } else if isThought {
          thought.append(token)
        } else {
          said.append(token)
        }
      }
      try await withTemporaryDirectory { directory in
        try write(
          to: directory,
          renaming: [
            5: "<|turn>", 6: "<turn|>", story.start: "<|channel>", story.end: "<channel|>",
          ]
        )
        let run =
          ["run", "--model", directory, "--devices", "cpu,cpu", "--threads", "1,1", "--raw"]
          + ["--temperature", "0", "--max-tokens", "\(story.answer.count)", story.prompt]
        let document: RunDocument = try await TrestleProcess.run(run + ["--json"]).document()
        #expect(document.tokens == story.answer)
        #expect(document.thoughtTokens == count)
        // The line end before a mark is part of it.
        let solid = { (text: String) in text.replacing("\n", with: "") }
        #expect(try await solid(document.thought ?? "") == solid(text(thought)))
        #expect(try await document.text == text(said))
        let shown = try await TrestleProcess.run(run)
        #expect(shown.status == 0 && shown.output == document.text + "\n", "\(shown)")
        #expect(shown.errors.contains("Thinking:\n"), "\(shown)")
        let asked = try await TrestleProcess.run(
          ["run", "--model", directory, "--devices", "cpu", "--think", "Hi"]
        )
        #expect(
          asked.status == 1 && asked.errors.contains("no way to ask for thoughts"),
          "\(asked)"
        )
      }
    }

    @Test func `a model without tokens for thoughts is not asked for any`() async throws {
      let outcome = try await TrestleProcess.run(
        ["run", "--model", Goldens.demoModel.path, "--devices", "cpu", "--think", "Hi"]
      )
      #expect(
        outcome.status == 1 && outcome.errors.contains("no tokens for thoughts"),
        "\(outcome)"
      )
      let raw = try await TrestleProcess.run(["run", "--think", "--raw", "Hi"])
      #expect(raw.status == 64 && raw.errors.contains("--think"), "\(raw)")
    }

    @Test func `a token that the generation config suppresses is not drawn`() async throws {
      let story = try story()
      try await withTemporaryDirectory { directory in
        try write(to: directory, suppressing: [story.answer[1]])
        let document: RunDocument = try await TrestleProcess.run(
          ["run", "--model", directory, "--devices", "cpu,cpu", "--threads", "1,1", "--raw"]
            + ["--temperature", "0", "--max-tokens", "12", "--json", story.prompt]
        ).document()
        #expect(document.tokens.first == story.answer[0])
        #expect(!document.tokens.contains(story.answer[1]))
      }
    }
  }
}
