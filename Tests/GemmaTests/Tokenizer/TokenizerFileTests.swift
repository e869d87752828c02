// Broken and foreign tokenizer files are refused by name; other spellings of good ones are read.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Tokenizer files` {
  /// A small tokenizer.json; each part can be replaced.
  private func json(
    vocab: String = #"{"<unk>":0,"a":1,"b":2,"▁":3,"ab":4,"▁ab":5}"#,
    merges: String = #"[["a","b"],["▁","ab"]]"#,
    added: String = #"[{"id":0,"content":"<unk>","special":true}]"#,
    model: String = "",
    other: String = "",
    normalizer: String = #"{"type":"Replace","pattern":{"String":" "},"content":"▁"}"#
  ) -> String {
    """
    {"added_tokens":\(added),"normalizer":\(normalizer),\(other)
    "model":{"type":"BPE",\(model)"unk_token":"<unk>","vocab":\(vocab),"merges":\(merges)}}
    """
  }

  private func tokens(_ text: String, _ json: String) throws -> [Int32] {
    try openTokenizer(json: json).encode(text, addBOS: false, parseSpecial: false)
  }

  @Test func `merges are pairs or strings, before the vocabulary or behind it`() throws {
    #expect(try tokens("ab ab", json()) == [4, 5])
    #expect(try tokens("ab ab", json(merges: #"["a b","▁ ab"]"#)) == [4, 5])
    let model = #""model":{"merges":["a b"],"vocab":{"a":0,"b":1,"ab":2}}"#
    #expect(try tokens("ab", "{\(model)}") == [2])
    // Of a pair that stands there twice, the last place counts.
    let twice = json(
      vocab: #"{"<unk>":0,"a":1,"b":2,"c":3,"ab":4,"bc":5}"#,
      merges: #"["a b","b c","a b"]"#
    )
    #expect(try tokens("abc", twice) == [1, 5])
  }

  @Test func `what no token expresses becomes bytes, or unknown tokens`() throws {
    #expect(try tokens("axyb", json()) == [1, 0, 0, 2])
    #expect(try tokens("axyb", json(model: #""fuse_unk":true,"#)) == [1, 0, 2])
    #expect(try tokens("ax yb", json(model: #""fuse_unk":true,"#)) == [1, 0, 3, 0, 2])
    let bytes = #"{"<unk>":0,"a":1,"<0xC3>":2,"<0xA9>":3}"#
    let fallback = json(vocab: bytes, merges: "[]", model: #""byte_fallback":true,"#)
    #expect(try tokens("aé", fallback) == [1, 2, 3])
    #expect(try tokens("aéü", fallback) == [1, 2, 3, 0])  // ü needs <0xBC>, too
    #expect(try openTokenizer(json: fallback).decode([1, 2, 3], skipSpecial: true) == "aé")
  }

  @Test func `added tokens are cut out before or after spaces change`() throws {
    func added(_ content: String, _ flags: String) -> String {
      json(added: #"[{"id":9,"content":"\#(content)"\#(flags)}]"#)
    }
    let raw = #","special":false,"normalized":false"#
    #expect(try tokens("ab b a", added("b a", raw)) == [4, 3, 9])
    #expect(try tokens("abb▁a", added("b▁a", raw)) == [4, 9])
    #expect(try tokens("abb a", added("b▁a", raw)) == [4, 2, 3, 1])
    let normalized = #","special":false,"normalized":true"#
    #expect(try tokens("abb a", added("b a", normalized)) == [4, 9])
    #expect(try tokens("abb▁a", added("b a", normalized)) == [4, 9])
    let special = try openTokenizer(json: added("ba", #","special":true"#))
    #expect(special.vocabularySize == 10)
    #expect(special.encode("aba", addBOS: false, parseSpecial: false) == [4, 1])
    #expect(special.encode("aba", addBOS: false, parseSpecial: true) == [1, 9])
    // Ids 6 to 8 are nobody's.
    #expect(special.bytes(of: 7) == nil)
    #expect(try special.decode([1, 7, 1], skipSpecial: false) == "aa")
  }

  @Test func `absurd content is refused by name`() throws {
    func refuse(_ code: GemmaError.Code, _ words: String, _ text: String) {
      expectRefusal(code, words) { _ = try openTokenizer(json: text) }
    }
    refuse(.tokenizer, "token id -1", json(vocab: #"{"a":-1}"#))
    refuse(.tokenizer, "token id 99999999", json(vocab: #"{"a":99999999}"#))
    refuse(.format, "absurdly large integer", json(vocab: #"{"a":99999999999999999999}"#))
    refuse(.format, "no integer", json(vocab: #"{"a":1.5}"#))
    refuse(.format, "no integer", json(vocab: #"{"a":"1"}"#))
    refuse(.tokenizer, "id 1 is used twice", json(vocab: #"{"a":1,"b":1}"#))
    refuse(.tokenizer, "text of another", json(vocab: #"{"a":1,"a":2}"#))
    refuse(.format, "an object", json(vocab: "[1]"))
    refuse(.tokenizer, "no model with a vocabulary", json(vocab: "{}", merges: "[]"))
    refuse(.tokenizer, "no model with a vocabulary", "{}")
    refuse(.tokenizer, "merges[1]", json(merges: #"["a b","a q"]"#))
    refuse(.tokenizer, "merges[0]", json(merges: #"["b a"]"#))
    refuse(.tokenizer, "merges[0]", json(merges: #"["ab"]"#))
    refuse(.tokenizer, "merges[0]", json(merges: #"[["a","b","a"]]"#))
    refuse(.tokenizer, "merges[0]", json(merges: #"[["a"]]"#))
    refuse(.format, "a string", json(merges: "[1]"))
    refuse(.format, "a string", json(merges: "[[1,2]]"))
    refuse(.tokenizer, "unk_token", json(vocab: #"{"a":1}"#, merges: "[]", added: "[]"))
    refuse(.tokenizer, "added_tokens[0]", json(added: "[1]"))
    refuse(.tokenizer, "added_tokens[0]", json(added: #"[{"id":"1","content":"x"}]"#))
    refuse(.tokenizer, "added_tokens[0]", json(added: #"[{"id":3,"content":"a"}]"#))
    refuse(.tokenizer, "id 3 is used twice", json(added: #"[{"id":3,"content":"x"}]"#))
    refuse(.tokenizer, "id -7", json(added: #"[{"id":-7,"content":"x"}]"#))
    refuse(
      .tokenizer,
      "added_tokens[1]",
      json(added: #"[{"id":8,"content":"x"},{"id":8,"content":"x"}]"#)
    )
    refuse(
      .tokenizer,
      "added_tokens[0].special",
      json(added: #"[{"id":8,"content":"x","special":1}]"#)
    )
    refuse(.tokenizer, "has 0 bytes", json(added: #"[{"id":8,"content":""}]"#))
    let deep = String(repeating: "[", count: 100_000)
    refuse(.format, "nesting", json(other: "\"x\":\(deep)"))
    refuse(.format, "nesting", json(added: deep))
    refuse(.format, "behind the end", json() + "x")
    refuse(.format, "surrogate", json(vocab: #"{"\ud800":1}"#))
    refuse(.format, "control character", json(vocab: "{\"\n\":1}"))
  }

  @Test func `what would change the tokens and is unknown is refused by name`() throws {
    func refuse(_ words: String, _ text: String) {
      expectRefusal(.unsupported, words) { _ = try openTokenizer(json: text) }
    }
    refuse("Unigram", #"{"model":{"type":"Unigram","vocab":[["a",0.5]]}}"#)
    refuse("normalizer is \"NFKC\"", json(normalizer: #"{"type":"NFKC"}"#))
    refuse("pre_tokenizer is \"ByteLevel\"", json(other: #""pre_tokenizer":{"type":"ByteLevel"},"#))
    refuse("decoder is \"WordPiece\"", json(other: #""decoder":{"type":"WordPiece"},"#))
    refuse("dropout", json(model: #""dropout":0.1,"#))
    refuse("ignore_merges", json(model: #""ignore_merges":true,"#))
    refuse("end_of_word_suffix", json(model: #""end_of_word_suffix":"</w>","#))
    refuse("lstrip", json(added: #"[{"id":8,"content":"x","lstrip":true}]"#))
    refuse("single_word", json(added: #"[{"id":8,"content":"x","single_word":true}]"#))
  }

  @Test func `a model without a tokenizer is told where to put one`() throws {
    try withTemporaryDirectory { directory in
      expectRefusal(.tokenizer, "tokenizer.json", directory) {
        _ = try Tokenizer.load(for: directory)
      }
    }
    expectRefusal(.file, "/nonexistent/model.gguf") {
      _ = try Tokenizer.load(for: "/nonexistent/model.gguf")
    }
  }

  @Test func `tokenizer_config names the begin and end tokens`() throws {
    func load(_ config: String?) throws -> Tokenizer {
      try withTemporaryDirectory { directory in
        let added = #"""
          [{"id":7,"content":"<s>","special":true},{"id":8,"content":"</s>","special":true},
          {"id":9,"content":"<bos>","special":true}]
          """#
        try Data(json(added: added).utf8).write(to: URL(filePath: "\(directory)/tokenizer.json"))
        if let config {
          try Data(config.utf8).write(to: URL(filePath: "\(directory)/tokenizer_config.json"))
        }
        return try Tokenizer.load(for: directory)
      }
    }
    let named = try load(
      #"{"bos_token":"<s>","eos_token":{"content":"</s>"},"add_bos_token":true}"#
    )
    #expect(named.bosToken == 7 && named.eosTokens == [8])
    let silent = try load(#"{"bos_token":null}"#)
    #expect(silent.bosToken == nil && silent.eosTokens.isEmpty)
    #expect(try load(nil).bosToken == 9)
  }

  @Test func `a GGUF file's absurd tokenizer is refused by name`() throws {
    let good = SmallVocabulary([.init(text: "<unk>", type: 2), .init(text: "a"), .init(text: "b")])
    #expect(try openTokenizer(good.gguf).encode("ab", addBOS: true, parseSpecial: true) == [1, 2])
    func refuse(_ code: GemmaError.Code, _ key: String, _ value: GGUFBuilder.Value?) {
      var file = good.gguf
      file["tokenizer.ggml.\(key)"] = value
      expectRefusal(code, "tokenizer.ggml.\(key)") { _ = try openTokenizer(file) }
    }
    refuse(.tokenizer, "model", nil)
    refuse(.unsupported, "model", .string("gpt2"))
    refuse(.config, "model", .uint32(1))
    refuse(.tokenizer, "tokens", nil)
    refuse(.tokenizer, "tokens", .array([], type: 8))
    refuse(.config, "tokens", .array([.uint32(1)]))
    refuse(.tokenizer, "scores", nil)
    refuse(.tokenizer, "scores", .array([.float32(0)]))
    refuse(.tokenizer, "scores", .array([.float32(0), .float32(.nan), .float32(0)]))
    refuse(.tokenizer, "token_type", .array([.int32(1)]))
    refuse(.tokenizer, "token_type", .array([.int32(1), .int32(7), .int32(1)]))
    refuse(.tokenizer, "bos_token_id", .uint32(3))
    refuse(.tokenizer, "eos_token_id", .int32(-1))
    refuse(.config, "add_space_prefix", .uint32(2))
    refuse(.config, "eos_token_ids", .string("1"))
    refuse(.config, "eos_token_ids", .array([.int32(-1)]))
    var twice = good
    twice.tokens[2].text = "a"
    expectRefusal(.tokenizer, "text of another") { _ = try openTokenizer(twice.gguf) }
  }

  @Test func `a GGUF file without token types is read by the tokens' names`() throws {
    var vocabulary = SmallVocabulary([
      .init(text: "<unk>", type: 2), .init(text: "<s>"), .init(text: "<0x78>"), .init(text: "a"),
    ])
    vocabulary.addsSpacePrefix = false
    var file = vocabulary.gguf
    file["tokenizer.ggml.token_type"] = nil
    file["tokenizer.ggml.bos_token_id"] = .uint32(1)
    let tokenizer = try openTokenizer(file)
    #expect(tokenizer.encode("ax<s>", addBOS: true, parseSpecial: true) == [1, 3, 2, 1])
    #expect(tokenizer.isSpecial(0) && tokenizer.isSpecial(1) && !tokenizer.isSpecial(3))
  }

  @Test(.seeded(default: 31))
  func `a damaged tokenizer json is read or refused, never worse`() throws {
    var random = SeededRandom(testSeed(default: 31))
    let demo = Goldens.demoModel.appending(path: "tokenizer.json")
    let whole = [UInt8](try Data(contentsOf: demo))
    let small = Array(json(other: #""decoder":null,"pre_tokenizer":null,"#).utf8)
    var refused = 0
    let rounds = fuzzIterations(default: 400)
    for round in 0..<rounds {
      // The whole file now and then: reading it takes long.
      let bytes = random.corrupted(round.isMultiple(of: 20) ? whole : small)
      let text = String(decoding: bytes, as: UTF8.self)
      do {
        let tokenizer = try openTokenizer(json: text)
        let tokens = tokenizer.encode("ab ab é", addBOS: true, parseSpecial: true)
        _ = try tokenizer.decode(tokens, skipSpecial: false)
      } catch let error as GemmaError {
        refused += 1
        #expect(!error.description.contains("\n"), "\(error)")
      }
    }
    #expect(refused > rounds / 4, "\(refused) of \(rounds) were refused: the damage does not reach")
  }

  @Test(.seeded(default: 32))
  func `a damaged tokenizer in a GGUF file is read or refused, never worse`() throws {
    var random = SeededRandom(testSeed(default: 32))
    let small = TokenizerGolden.directory.appending(path: "small.gguf")
    let whole = [UInt8](try Data(contentsOf: small))
    var read = 0
    let rounds = fuzzIterations(default: 100)
    for _ in 0..<rounds {
      do {
        let tokenizer = try withTemporaryModel(random.corrupted(whole)) {
          try Tokenizer.load(for: $0)
        }
        let tokens = tokenizer.encode("the king \n\n é", addBOS: true, parseSpecial: true)
        _ = try tokenizer.decode(tokens, skipSpecial: false)
        read += 1
      } catch let error as GemmaError {
        #expect(!error.description.contains("\n"), "\(error)")
      }
    }
    #expect((1..<rounds).contains(read), "\(read) of \(rounds) were read")
  }
}
