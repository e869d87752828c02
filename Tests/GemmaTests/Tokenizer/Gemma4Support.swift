// Gemma 4's goldens, and the part of its vocabulary that they need.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

/// The files of Tests/Goldens/gemma4-chat; PROVENANCE.md in Tests/Goldens says how they were made.
enum Gemma4Golden {
  /// Texts with their tokens.
  struct Tokens: Decodable {
    struct Case: Decodable {
      var text: String
      var ids_plain: [Int32]
      var ids_special: [Int32]
    }

    var cases: [Case]
  }

  static let directory = Goldens.directory.appending(path: "gemma4-chat")

  static func load<Golden: Decodable>(_ name: String, as type: Golden.Type) throws -> Golden {
    try JSONDecoder().decode(
      type,
      from: try Data(contentsOf: directory.appending(path: "\(name).json"))
    )
  }

  /// The file with the special tokens, the bytes, and the tokens and merges of the golden texts.
  static var vocabularyPath: String { directory.appending(path: "vocabulary.gguf").path }

  /// A file with the whole vocabulary, if this run has one.
  static let wholePath: String? = {
    let path = ProcessInfo.processInfo.environment["TRESTLE_GEMMA4_VOCABULARY"] ?? ""
    if path.isEmpty {
      print(
        "skipped: all tokens of Gemma 4; set TRESTLE_GEMMA4_VOCABULARY to a GGUF file with them"
      )
    }
    return path.isEmpty ? nil : path
  }()

  /// The names of all special tokens.
  static let specialNames = [
    "<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|tool>", "<tool|>", "<|tool_call>",
    "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|\"|>", "<|think|>", "<|channel>",
    "<channel|>", "<|turn>", "<turn|>", "<|image>", "<|audio>", "<|image|>", "<|audio|>",
    "<image|>", "<audio|>", "<|video|>",
  ]

  /// The same vocabulary as a tokenizer.json.
  static func tokenizerJSON() throws -> String {
    let file = try GGUFFile.open(vocabularyPath)
    let tokens = try #require(try file.strings("tokenizer.ggml.tokens"))
    let merges = try #require(try file.strings("tokenizer.ggml.merges"))
    let added = tokens.enumerated().filter { specialNames.contains($0.element) }.map {
      ["id": $0.offset, "content": $0.element, "special": true, "normalized": false]
        as [String: Any]
    }
    let space = ["String": " "]
    let content: [String: Any] = [
      "added_tokens": added,
      "normalizer": ["type": "Replace", "pattern": space, "content": "▁"] as [String: Any],
      "pre_tokenizer": ["type": "Split", "pattern": space, "behavior": "MergedWithPrevious"]
        as [String: Any],
      "model": [
        "type": "BPE", "byte_fallback": true, "fuse_unk": true, "unk_token": "<unk>",
        "vocab": Dictionary(uniqueKeysWithValues: tokens.enumerated().map { ($1, $0) }),
        // By scalars: a space and a combining mark behind it are one character.
        "merges": merges.map { $0.unicodeScalars.split(separator: " ").map { String($0) } },
      ] as [String: Any],
    ]
    return String(decoding: try JSONSerialization.data(withJSONObject: content), as: UTF8.self)
  }
}

/// A tokenizer with Gemma 4's tokens, and what their ids are in the whole vocabulary.
struct Gemma4Vocabulary {
  var tokenizer: Tokenizer
  /// By id; nil if the ids are those of the whole vocabulary.
  private var originals: [Int]?

  /// The part that the goldens need.
  static func part() throws -> Gemma4Vocabulary {
    let file = try GGUFFile.open(Gemma4Golden.vocabularyPath)
    let originals = try #require(try file.integers("test.original_ids"))
    return Gemma4Vocabulary(tokenizer: try Tokenizer(gguf: file), originals: originals)
  }

  /// The part, read from a tokenizer.json.
  static func partFromJSON() throws -> Gemma4Vocabulary {
    var vocabulary = try part()
    vocabulary.tokenizer = try openTokenizer(json: try Gemma4Golden.tokenizerJSON())
    return vocabulary
  }

  /// All 262,144 tokens.
  static func whole(_ path: String) throws -> Gemma4Vocabulary {
    Gemma4Vocabulary(tokenizer: try Tokenizer.load(for: path), originals: nil)
  }

  /// Returns tokens by their ids in the whole vocabulary.
  func originals(_ tokens: [Int32]) -> [Int32] {
    guard let originals else { return tokens }
    return tokens.map { Int32(originals[Int($0)]) }
  }
}
