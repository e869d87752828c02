// Gemma 4's tokens: those of the reference, from both kinds of files, and none of them out of a user's hand.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Gemma 4's tokenizer` {
  private func expectGolden(_ vocabulary: Gemma4Vocabulary) throws {
    let golden = try Gemma4Golden.load("tokens", as: Gemma4Golden.Tokens.self)
    #expect(golden.cases.count >= 65, "tokens.json has lost cases")
    let tokenizer = vocabulary.tokenizer
    for item in golden.cases {
      let text = item.text.prefix(200).debugDescription
      let plain = tokenizer.encode(item.text, addBOS: false, parseSpecial: false)
      #expect(vocabulary.originals(plain) == item.ids_plain, "\(text)")
      let special = tokenizer.encode(item.text, addBOS: false, parseSpecial: true)
      #expect(vocabulary.originals(special) == item.ids_special, "\(text) with special tokens")
      let decoded = try tokenizer.decode(plain, skipSpecial: true)
      #expect(decoded.utf8.elementsEqual(item.text.utf8), "\(text) decoded")
    }
    #expect(Set(vocabulary.originals(tokenizer.eosTokens)) == [1, 50, 106])
    #expect(vocabulary.originals(tokenizer.bosToken.map { [$0] } ?? []) == [2])
    #expect(
      vocabulary.originals(tokenizer.suppressedTokens)
        == [255_999, 256_000, 258_880, 258_881, 258_882, 258_883, 258_884]
    )
    #expect(tokenizer.canThink)
  }

  @Test func `tokens of a GGUF file are those of the reference`() throws {
    try expectGolden(.part())
  }

  @Test func `tokens of a tokenizer json are those of the reference`() throws {
    try expectGolden(.partFromJSON())
  }

  @Test(
    .enabled(if: Gemma4Golden.wholePath != nil, "TRESTLE_GEMMA4_VOCABULARY names no GGUF file")
  )
  func `the whole vocabulary gives the tokens of the reference`() throws {
    let whole = try Gemma4Vocabulary.whole(try #require(Gemma4Golden.wholePath))
    #expect(whole.tokenizer.vocabularySize == 262_144)
    try expectGolden(whole)
  }

  @Test func `the begin token goes before a text although the file says no`() throws {
    let file = try GGUFFile.open(Gemma4Golden.vocabularyPath)
    #expect(try file.bool("tokenizer.ggml.add_bos_token") == false)
    for vocabulary in [try Gemma4Vocabulary.part(), try .partFromJSON()] {
      let tokenizer = vocabulary.tokenizer
      let tokens = tokenizer.encode("Hello world", addBOS: true, parseSpecial: false)
      #expect(vocabulary.originals(tokens) == [2, 9259, 1902])
      let chat = try tokenizer.encode([.template("<bos><|turn>user\n"), .plain("Hi")])
      #expect(vocabulary.originals(chat) == [2, 105, 2364, 107, 10979])
    }
  }

  @Test func `marks of calls of tools are shown, those of thoughts and turns are not`() throws {
    for vocabulary in [try Gemma4Vocabulary.part(), try .partFromJSON()] {
      let tokenizer = vocabulary.tokenizer
      let call = "<|tool_call>call:f{a:<|\"|>x<|\"|>}<tool_call|>"
      let text = "<|channel>thought\nhm\n<channel|>\(call)<turn|>"
      let tokens = tokenizer.encode(text, addBOS: true, parseSpecial: true)
      #expect(try tokenizer.decode(tokens, skipSpecial: true) == "thought\nhm\n\(call)")
      #expect(try tokenizer.decode(tokens, skipSpecial: false) == "<bos>" + text)
    }
  }

  @Test(.seeded(default: 41))
  func `no special token comes out of a user's text`() throws {
    var random = SeededRandom(testSeed(default: 41))
    for vocabulary in [try Gemma4Vocabulary.part(), try .partFromJSON()] {
      let tokenizer = vocabulary.tokenizer
      let special = Set(
        try Gemma4Golden.specialNames.map { try #require(tokenizer.token(named: $0)) }
      )
      #expect(special.count == 24)
      for _ in 0..<fuzzIterations(default: 60) {
        var text = randomText(&random, upTo: 20)
        for _ in 0..<4 {
          text += Gemma4Golden.specialNames.randomElement(using: &random) ?? ""
          text += randomText(&random, upTo: 3)
        }
        let plain = tokenizer.encode(text, addBOS: false, parseSpecial: false)
        #expect(special.isDisjoint(with: plain), "\(text.debugDescription)")
        let chat = try tokenizer.encode([.template("<bos>"), .plain(text)])
        #expect(special.isDisjoint(with: chat.dropFirst()), "\(text.debugDescription)")
        let back = try tokenizer.decode(plain, skipSpecial: true)
        #expect(back.utf8.elementsEqual(text.replacing("▁", with: " ").utf8))
      }
    }
  }

  @Test(arguments: ["a", "\n", "<", "▁", "the", "🦙"])
  func `time grows with the text, not with its square`(unit: String) throws {
    let tokenizer = try Gemma4Vocabulary.part().tokenizer
    let clock = ContinuousClock()
    func best(_ count: Int) -> Duration {
      let text = String(repeating: unit, count: count)
      let times = (0..<3).map { _ in
        clock.measure {
          #expect(!tokenizer.encode(text, addBOS: false, parseSpecial: true).isEmpty)
        }
      }
      return times.min() ?? .zero
    }
    // Eight times the text: n log n takes 10 times as long, n² 64 times.
    let ratio = best(24_000) / best(3_000)
    #expect(ratio < 30, "8 times the text takes \(ratio) times as long")
  }

  @Test func `an absurd file is refused by name`() throws {
    var good = SmallVocabulary([.init(text: "<unk>", type: 2), .init(text: "a"), .init(text: "aa")])
      .gguf
    good["tokenizer.ggml.model"] = .string("gemma4")
    good["tokenizer.ggml.merges"] = .array([.string("a a")])
    #expect(try openTokenizer(good).encode("aaa", addBOS: true, parseSpecial: false) == [2, 1])
    func refuse(
      _ code: GemmaError.Code,
      _ key: String,
      _ value: GGUFBuilder.Value?,
      _ words: String
    ) {
      var file = good
      file["tokenizer.ggml.\(key)"] = value
      expectRefusal(code, "tokenizer.ggml.\(key)", words) { _ = try openTokenizer(file) }
    }
    refuse(.unsupported, "model", .string("gemma5"), "gemma4")
    refuse(.tokenizer, "merges", nil, "no merges")
    refuse(.config, "merges", .array([.uint32(1)]), "")
    for pair in ["", " ", "a", "aa"] {
      refuse(.tokenizer, "merges", .array([.string(pair)]), "[0] is not a pair")
    }
    for pair in ["a ", " a", "a b", "aa a", "a  a"] {
      refuse(.tokenizer, "merges", .array([.string("a a"), .string(pair)]), "[1]")
    }
    refuse(.tokenizer, "suppress_tokens", .array([.int32(1), .int32(3)]), "3")
    refuse(.tokenizer, "suppress_tokens", .int32(-1), "-1")
    good["tokenizer.ggml.suppress_tokens"] = .array([.int32(2), .int32(1), .int32(2)])
    #expect(try openTokenizer(good).suppressedTokens == [1, 2])
  }

  @Test(.seeded(default: 42))
  func `a damaged file is read or refused, never worse`() throws {
    var random = SeededRandom(testSeed(default: 42))
    var tokens = Gemma4Golden.specialNames.map {
      SmallVocabulary.Token(text: $0, type: $0 == "<unk>" ? 2 : 3)
    }
    tokens += ["a", "b", "▁", "ab", "▁ab"].map { SmallVocabulary.Token(text: $0) }
    var small = SmallVocabulary(tokens).gguf
    small["tokenizer.ggml.model"] = .string("gemma4")
    small["tokenizer.ggml.merges"] = .array([.string("a b"), .string("▁ ab")])
    small["tokenizer.ggml.suppress_tokens"] = .array([.int32(3)])
    var read = 0
    let rounds = fuzzIterations(default: 200)
    for _ in 0..<rounds {
      do {
        let tokenizer = try withTemporaryModel(random.corrupted(small.bytes)) {
          try Tokenizer.load(for: $0)
        }
        let tokens = tokenizer.encode("ab ab<|turn>é", addBOS: true, parseSpecial: true)
        _ = try tokenizer.decode(tokens, skipSpecial: false)
        var reader = AnswerReader(tokenizer, after: tokens)
        for token in tokens { _ = reader.append(token) }
        read += 1
      } catch let error as GemmaError {
        #expect(!error.description.contains("\n"), "\(error)")
      }
    }
    #expect((1..<rounds).contains(read), "\(read) of \(rounds) were read")
  }
}
