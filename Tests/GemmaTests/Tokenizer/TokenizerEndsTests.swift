// What a model's files say of the tokens around a text and at its end: obeyed, however they spell it.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Ends of a text and of a turn` {
  /// A vocabulary with Gemma's marks, of these types: 1 text, 3 control, 4 user-defined.
  private func vocabulary(start: Int = 3, end: Int = 3) -> SmallVocabulary {
    SmallVocabulary([
      .init(text: "<pad>", type: 3), .init(text: "<eos>", type: 3), .init(text: "<bos>", type: 3),
      .init(text: "<unk>", type: 2), .init(text: "a"), .init(text: "<start_of_turn>", type: start),
      .init(text: "<end_of_turn>", type: end), .init(text: "<|im_end|>", type: 3),
    ])
  }

  private func tokenizer(
    _ vocabulary: SmallVocabulary,
    _ keys: [String: GGUFBuilder.Value]
  ) throws -> Tokenizer {
    var file = vocabulary.gguf
    file["tokenizer.ggml.bos_token_id"] = .uint32(2)
    for (key, value) in keys { file["tokenizer.ggml.\(key)"] = value }
    return try openTokenizer(file)
  }

  @Test func `a GGUF file that names the end of the text alone ends at that of a turn, too`() throws
  {
    #expect(try tokenizer(vocabulary(), ["eos_token_id": .uint32(1)]).eosTokens == [1, 6, 7])
    #expect(try tokenizer(vocabulary(), [:]).eosTokens == [6, 7])
  }

  @Test func `every key that names an end is obeyed, a list or not`() throws {
    for key in ["eos_token_id", "eos_token_ids", "eot_token_id", "eom_token_id"] {
      #expect(try tokenizer(vocabulary(), [key: .uint32(4)]).eosTokens == [4, 6, 7], "\(key)")
      let list = GGUFBuilder.Value.array([.int32(1), .int32(4)])
      #expect(try tokenizer(vocabulary(), [key: list]).eosTokens == [1, 4, 6, 7], "\(key)")
    }
  }

  // llama.cpp overrides the type of such a token with a warning (llama_vocab::impl::load).
  @Test(arguments: [1, 3, 4], [1, 3, 4])
  func `the marks of turns are structure whatever type a GGUF file gives them`(
    start: Int,
    end: Int
  ) throws {
    let tokenizer = try tokenizer(vocabulary(start: start, end: end), ["eos_token_id": .uint32(1)])
    #expect(tokenizer.isSpecial(5) && tokenizer.isSpecial(6))
    #expect(tokenizer.eosTokens == [1, 6, 7])
    #expect(try tokenizer.encode([.template("<bos><start_of_turn>"), .plain("a")]) == [2, 5, 4])
    // And text of a user is none.
    #expect(!tokenizer.encode("<end_of_turn>", addBOS: false, parseSpecial: false).contains(6))
  }

  @Test(arguments: [true, false], [true, false])
  func `the marks of turns are structure in a tokenizer json that calls them text`(
    isSpecial: Bool,
    isNormalized: Bool
  ) throws {
    let tokenizer = try openTokenizer(
      json: #"""
        {"model":{"type":"BPE","vocab":{"a":0,"<":1,"▁":2},"merges":[]},
        "normalizer":{"type":"Replace","pattern":{"String":" "},"content":"▁"},
        "added_tokens":[{"id":5,"content":"<start_of_turn>","special":false},
        {"id":6,"content":"<end_of_turn>","special":\#(isSpecial),"normalized":\#(isNormalized)}]}
        """#
    )
    #expect(tokenizer.isSpecial(5) && tokenizer.isSpecial(6) && tokenizer.eosTokens == [6])
    #expect(try tokenizer.encode([.plain("a"), .template("<end_of_turn>")]) == [0, 6])
    #expect(!tokenizer.encode("a<end_of_turn>", addBOS: false, parseSpecial: false).contains(6))
  }

  @Test func `the begin token goes before a text where the file says so, and never twice`() throws {
    func encode(_ text: String, _ adds: Bool?, special: Bool = true) throws -> [Int32] {
      let keys = adds.map { ["add_bos_token": GGUFBuilder.Value.bool($0)] } ?? [:]
      return try tokenizer(vocabulary(), keys).encode(text, addBOS: true, parseSpecial: special)
    }
    #expect(try encode("a", nil) == [2, 4])
    #expect(try encode("a", true) == [2, 4])
    #expect(try encode("a", false) == [4])
    #expect(try encode("<bos>a", true) == [2, 4])
    #expect(try encode("<bos>a", false) == [2, 4])
    #expect(try encode("<bos>a", true, special: false).dropFirst().contains(2) == false)
  }

  @Test func `the end token goes behind a text where the file says so`() throws {
    let keys: [String: GGUFBuilder.Value] = [
      "add_eos_token": .bool(true), "eos_token_id": .uint32(1),
    ]
    let tokenizer = try tokenizer(vocabulary(), keys)
    #expect(tokenizer.encode("a", addBOS: true, parseSpecial: false) == [2, 4, 1])
    #expect(tokenizer.encode("a", addBOS: false, parseSpecial: false) == [4])
    // A chat's template says what stands at its end.
    #expect(try tokenizer.encode([.template("<bos>"), .plain("a")]) == [2, 4])
  }

  @Test func `a chat begins with the begin token once, as in llama cpp`() throws {
    func encode(_ adds: Bool, _ pieces: [PromptPiece]) throws -> [Int32] {
      try tokenizer(vocabulary(), ["add_bos_token": .bool(adds)]).encode(pieces)
    }
    #expect(try encode(true, [.template("<bos>a")]) == [2, 4])
    #expect(try encode(true, [.template("a")]) == [2, 4])
    #expect(try encode(false, [.template("<bos>a")]) == [2, 4])
    #expect(try encode(false, [.template("a")]) == [4])
  }

  // As transformers: TokenizersBackend.__init__ in tokenization_utils_tokenizers.py.
  @Test(
    arguments: [
      (nil, nil, [4]), ("bos", nil, [2, 4]), ("bos eos", nil, [2, 4, 1]),
      ("bos", #""add_bos_token":false"#, [4]), (nil, #""add_bos_token":true"#, [2, 4]),
      ("bos", #""add_eos_token":false"#, [4]), ("bos", #""add_eos_token":true"#, [4, 1]),
      (nil, #""add_bos_token":true,"add_eos_token":true"#, [2, 4, 1]),
    ] as [(String?, String?, [Int32])]
  )
  func `a directory's tokens around a text are those of its config, else of its post-processor`(
    processor: String?,
    config: String?,
    expected: [Int32]
  ) throws {
    let around = (processor ?? "").split(separator: " ").map {
      #"{"SpecialToken":{"id":"<\#($0)>","type_id":0}}"#
    }
    let single: [String?] = [
      around.first, #"{"Sequence":{"id":"A","type_id":0}}"#, around.dropFirst().first,
    ]
    let json = #"""
      {"model":{"type":"BPE","vocab":{"<eos>":1,"<bos>":2,"a":4},"merges":[]},
      "added_tokens":[{"id":1,"content":"<eos>","special":true},
      {"id":2,"content":"<bos>","special":true}],
      "post_processor":{"type":"TemplateProcessing",
      "single":[\#(single.compactMap { $0 }.joined(separator: ","))]}}
      """#
    try withTemporaryDirectory { directory in
      try Data(json.utf8).write(to: URL(filePath: "\(directory)/tokenizer.json"))
      let names = #""bos_token":"<bos>","eos_token":"<eos>""#
      try Data("{\(([names] + [config].compactMap { $0 }).joined(separator: ","))}".utf8)
        .write(to: URL(filePath: "\(directory)/tokenizer_config.json"))
      let tokenizer = try Tokenizer.load(for: directory)
      #expect(tokenizer.encode("a", addBOS: true, parseSpecial: false) == expected)
    }
  }

  @Test func `a post-processor that adds anything else is refused by name`() {
    let json = #"""
      {"model":{"type":"BPE","vocab":{"<x>":1,"a":4},"merges":[]},
      "added_tokens":[{"id":1,"content":"<x>","special":true}],
      "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<x>"}},
      {"Sequence":{"id":"A"}}]}}
      """#
    expectRefusal(.unsupported, "post_processor", "<x>") { _ = try openTokenizer(json: json) }
  }

  @Test func `a token beyond the rows of the embedding is never text of a user`() throws {
    var file = vocabulary().gguf
    file["tokenizer.ggml.bos_token_id"] = .uint32(2)
    // The last token, as text of its own, and with one row less than tokens.
    file["tokenizer.ggml.token_type"] = .array([3, 3, 3, 2, 1, 3, 3, 4].map { .int32($0) })
    try withTemporaryModel(file.bytes) { path in
      let file = try GGUFFile.open(path)
      func encode(_ tokenizer: Tokenizer) -> [Int32] {
        tokenizer.encode("a<|im_end|>", addBOS: true, parseSpecial: false)
      }
      #expect(encode(try Tokenizer(gguf: file)) == [2, 4, 7])
      #expect(!encode(try Tokenizer(gguf: file, rowCount: 7)).contains(7))
    }
  }
}
