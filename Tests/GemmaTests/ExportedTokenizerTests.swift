// Tokenizers and chat templates of Hugging Face directories in GGUF files: all texts become the same tokens, and the
// same prompts.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Exported tokenizer` {
  private static let seed: UInt64 = 20_261_201

  /// The texts by which tokenizers are compared: hand-written ones, and random ones with pieces of the vocabulary.
  private func texts(_ tokenizer: Tokenizer) throws -> [String] {
    var random = SeededRandom(testSeed(default: Self.seed))
    var texts = try TokenizerGolden.load("demo-model").cases.map(\.text)
    for _ in 0..<fuzzIterations(default: 300) {
      texts.append(randomText(&random))
      let tokens = (0..<Int.random(in: 1...20, using: &random)).map { _ in
        Int32.random(in: 0..<Int32(tokenizer.vocabularySize), using: &random)
      }
      texts.append(try tokenizer.decode(tokens, skipSpecial: true))
    }
    // A tokenizer.json finds a run of ▁ in writing before spaces become ▁; in a GGUF file they are the same.
    return texts.filter { !$0.contains("▁▁") }
  }

  private func expectEqual(_ ours: Tokenizer, _ theirs: Tokenizer) throws {
    #expect(ours.vocabularySize == theirs.vocabularySize && ours.bosToken == theirs.bosToken)
    #expect(Set(ours.eosTokens) == Set(theirs.eosTokens))
    #expect(ours.suppressedTokens == theirs.suppressedTokens)
    #expect(ours.channelMarks == theirs.channelMarks)
    for text in try texts(theirs) {
      for special in [false, true] {
        let expected = theirs.encode(text, addBOS: special, parseSpecial: special)
        let found = ours.encode(text, addBOS: special, parseSpecial: special)
        #expect(found == expected, "\(text.debugDescription), \(special ? "special" : "plain")")
        #expect(
          try ours.decode(found, skipSpecial: special)
            == theirs.decode(expected, skipSpecial: special)
        )
      }
    }
    for token in 0..<Int32(theirs.vocabularySize) {
      #expect(ours.isSpecial(token) == theirs.isSpecial(token), "token \(token)")
      #expect(ours.bytes(of: token) == theirs.bytes(of: token), "token \(token)")
    }
  }

  @Test(.seeded(default: seed)) func `the demo model's tokens and prompts are the same`() throws {
    let model = try Checkpoint.open(Goldens.demoModel.path)
    let theirs = try model.tokenizer()
    try withExport(of: model) { copy in
      #expect(copy.config == model.config.inGGUF)
      #expect(try copy.gguf?.string("tokenizer.ggml.model") == "llama")
      let ours = try copy.tokenizer()
      try expectEqual(ours, theirs)
      let template = try copy.chatTemplate(for: ours)
      #expect(try template == model.chatTemplate(for: theirs))
      let messages = [
        ChatMessage(role: .user, content: "Füße <end_of_turn>"),
        ChatMessage(role: .assistant, content: "🪜"),
      ]
      let prompt = try template.pieces(messages + messages.prefix(1))
      let expected = try theirs.encode(prompt)
      #expect(try ours.encode(prompt) == expected)
    }
  }

  /// A model with this tokenizer.json and as many rows as `rowCount`.
  private func withModel<Result>(
    _ json: String,
    rowCount: Int,
    config: String? = nil,
    _ body: (Checkpoint) throws -> Result
  ) throws -> Result {
    var tiny = TinyModel.gemma3
    tiny.setText("vocab_size", to: rowCount)
    var tensors = tiny.safetensors
    for index in tensors.tensors.indices where tensors.tensors[index].name.contains("embed_tokens")
    {
      tensors.tensors[index].shape[0] = rowCount
      tensors.tensors[index].bytes = Array(repeating: 0, count: rowCount * 32 * 2)
    }
    return try withTemporaryDirectory { directory in
      try tiny.writeConfig(to: directory)
      try tensors.write(to: "\(directory)/model.safetensors")
      try Array(json.utf8).write(to: "\(directory)/tokenizer.json")
      if let config { try Array(config.utf8).write(to: "\(directory)/tokenizer_config.json") }
      return try body(try Checkpoint.open(directory))
    }
  }

  @Test(.seeded(default: seed)) func `Gemma 4's tokens are the same`() throws {
    let count = try Gemma4Vocabulary.part().tokenizer.vocabularySize
    try withModel(try Gemma4Golden.tokenizerJSON(), rowCount: count) { model in
      try withExport(of: model) { copy in
        #expect(try copy.gguf?.string("tokenizer.ggml.model") == "gemma4")
        #expect(try copy.gguf?.string("tokenizer.chat_template") == nil)
        try expectEqual(try copy.tokenizer(), try model.tokenizer())
      }
    }
  }

  /// A tokenizer.json of these merges over single characters and 256 bytes; the tokens have the ids of their places.
  private func json(_ pieces: [String], merges: [[String]], added: [String] = []) throws -> String {
    let bytes = (0..<256).map { String(format: "<0x%02X>", $0) }
    let tokens = ["<pad>", "<eos>", "<bos>", "<unk>"] + bytes + pieces + added
    let vocabulary = Dictionary(uniqueKeysWithValues: tokens.enumerated().map { ($1, $0) })
    let special = tokens.prefix(4).enumerated().map {
      ["id": $0, "content": $1, "special": true] as [String: Any]
    }
    let plain = added.map {
      ["id": vocabulary[$0] ?? 0, "content": $0, "special": false, "normalized": false]
        as [String: Any]
    }
    let content: [String: Any] = [
      "added_tokens": special + plain,
      "normalizer": ["type": "Replace", "pattern": ["String": " "], "content": "▁"]
        as [String: Any],
      "model": [
        "type": "BPE", "byte_fallback": true, "unk_token": "<unk>", "vocab": vocabulary,
        "merges": merges,
      ] as [String: Any],
    ]
    return String(decoding: try JSONSerialization.data(withJSONObject: content), as: UTF8.self)
  }

  @Test func `a vocabulary that scores cannot describe keeps its merges`() throws {
    let letters = ["a", "b", "c", "▁", "\n"]
    // By merges, bc never comes about; by scores it would, whatever it had.
    let trained = try json(letters + ["ab", "bc"], merges: [["a", "b"]])
    let whole = try json(letters + ["ab", "bc"], merges: [["a", "b"], ["b", "c"]])
    // The way to abc is not its best merge: if that were its score, cabc would become c and abc.
    let late = try json(
      letters + ["ab", "bc", "abc", "ca"],
      merges: [["ab", "c"], ["b", "c"], ["c", "a"], ["a", "bc"], ["a", "b"]]
    )
    for (json, model, count) in [
      (trained, "gemma4", 267), (whole, "llama", 267), (late, "llama", 269),
    ] {
      try withModel(json, rowCount: count) { source in
        try withExport(of: source) { copy in
          #expect(try copy.gguf?.string("tokenizer.ggml.model") == model)
          let (ours, theirs) = (try copy.tokenizer(), try source.tokenizer())
          var random = SeededRandom(Self.seed)
          for _ in 0..<300 {
            let text = String((0..<12).map { _ in "abc \n".randomElement(using: &random) ?? "a" })
            let expected = theirs.encode(text, addBOS: false, parseSpecial: false)
            #expect(
              ours.encode(text, addBOS: false, parseSpecial: false) == expected,
              "\(text.debugDescription)"
            )
          }
        }
      }
    }
  }

  @Test func `added text is cut out of spaces, and runs of spaces are merged`() throws {
    let text = try json(
      ["a", "▁", "\n"],
      merges: [["▁", "▁"]],
      added: ["▁▁", "\n\n", "a▁a"]
    )
    try withModel(text, rowCount: 266) { source in
      try withExport(of: source) { copy in
        let types = try #require(try copy.gguf?.integers("tokenizer.ggml.token_type"))
        let tokens = try #require(try copy.gguf?.strings("tokenizer.ggml.tokens"))
        #expect(types[263] == 1 && types[264] == 4 && types[265] == 4 && tokens[265] == "a a")
      }
    }
  }

  @Test func `rows without a token and tokens without a row`() throws {
    let text = try json(["a", "b", "ab"], merges: [["a", "b"]])
    try withModel(text, rowCount: 270) { source in
      try withExport(of: source) { copy in
        let tokenizer = try copy.tokenizer()
        #expect(tokenizer.vocabularySize == 270 && tokenizer.isSpecial(269))
        #expect(tokenizer.encode("ab", addBOS: false, parseSpecial: false) == [262])
      }
    }
    try withModel(text, rowCount: 262) { source in
      try withExport(of: source) { copy in
        let tokenizer = try copy.tokenizer()
        #expect(tokenizer.encode("ab", addBOS: false, parseSpecial: false) == [260, 261])
      }
    }
  }

  @Test func `a directory without a tokenizer gives a file without one`() throws {
    let model = try openModel(TinyModel.gemma3)
    try withExport(of: model) { copy in
      let file = try #require(copy.gguf)
      #expect(try file.string("tokenizer.ggml.model") == "no_vocab")
      #expect(try file.integer("gemma3.vocab_size") == 12)
      expectRefusal(.unsupported, "no_vocab") { _ = try copy.tokenizer() }
    }
  }
}
