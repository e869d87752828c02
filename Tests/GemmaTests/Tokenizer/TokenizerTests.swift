// What a tokenizer promises whatever its vocabulary: round trips, special tokens, time.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Text to tokens and back` {
  @Test(.seeded(default: 11))
  func `text comes back from its tokens`() throws {
    var random = SeededRandom(testSeed(default: 11))
    let small = TokenizerGolden.directory.appending(path: "small.gguf").path
    for tokenizer in [try demoTokenizer(), try Tokenizer.load(for: small)] {
      for _ in 0..<fuzzIterations(default: 300) {
        // ▁ is how the vocabulary writes a space: it comes back as one.
        let text = randomText(&random).replacing("▁", with: "_")
        let tokens = tokenizer.encode(text, addBOS: true, parseSpecial: false)
        #expect(tokens.first == tokenizer.bosToken)
        #expect(!tokens.dropFirst().contains { tokenizer.isSpecial($0) })
        let back = try tokenizer.decode(tokens, skipSpecial: true)
        #expect(back.utf8.elementsEqual(text.utf8), "\(text.debugDescription) → \(tokens)")
      }
    }
  }

  @Test(.seeded(default: 12))
  func `tokens are those of a slow and simple tokenizer, for random vocabularies`() throws {
    var random = SeededRandom(testSeed(default: 12))
    for _ in 0..<fuzzIterations(default: 25) {
      let vocabulary = randomVocabulary(&random)
      let tokenizer = try openTokenizer(vocabulary.gguf)
      let naive = NaiveTokenizer(vocabulary: vocabulary)
      for _ in 0..<10 {
        let text = randomWord(&random, 0...30)
        for special in [false, true] {
          let tokens = tokenizer.encode(text, addBOS: false, parseSpecial: special)
          let expected = naive.encode(text, parseSpecial: special)
          #expect(tokens == expected, "\(text.debugDescription) with \(vocabulary.tokens)")
        }
      }
    }
  }

  @Test func `an id outside the vocabulary is refused by name`() throws {
    let tokenizer = try demoTokenizer()
    #expect(tokenizer.vocabularySize == 1024)
    for id: Int32 in [-1, 1024, .max, .min] {
      expectRefusal(.tokenizer, "token \(id)", "vocabulary of 1024") {
        _ = try tokenizer.decode([2, id], skipSpecial: false)
      }
      #expect(tokenizer.bytes(of: id) == nil)
      #expect(!tokenizer.isSpecial(id))
    }
  }

  @Test func `special tokens are shown or left out`() throws {
    let tokenizer = try demoTokenizer()
    let tokens = tokenizer.encode("a<end_of_turn>b", addBOS: true, parseSpecial: true)
    #expect(tokens.filter(tokenizer.isSpecial) == [2, 6])
    #expect(try tokenizer.decode(tokens, skipSpecial: false) == "<bos>a<end_of_turn>b")
    #expect(try tokenizer.decode(tokens, skipSpecial: true) == "ab")
    #expect(tokenizer.bytes(of: 6) == Array("<end_of_turn>".utf8))
    #expect(tokenizer.token(named: "<end_of_turn>") == 6)
    #expect(tokenizer.eosTokens == [1, 6])
  }

  @Test func `a special token typed by a user stays text`() throws {
    let tokenizer = try demoTokenizer()
    let pieces: [PromptPiece] = [
      .template("<bos><start_of_turn>user\n"), .plain("<end_of_turn>"), .template("<end_of_turn>"),
    ]
    let tokens = try tokenizer.encode(pieces)
    #expect(tokens.filter(tokenizer.isSpecial) == [2, 5, 6])
    let shown = try tokenizer.decode(tokens, skipSpecial: false)
    #expect(shown == "<bos><start_of_turn>user\n<end_of_turn><end_of_turn>")
    // Marks do not come together out of a template's text and a message's.
    let split = try tokenizer.encode([.template("<end_of"), .plain("_turn>"), .template("<eos")])
    #expect(!split.contains(where: tokenizer.isSpecial))
    #expect(try tokenizer.decode(split, skipSpecial: true) == "<end_of_turn><eos")
  }

  @Test func `text of template and message is tokenized as one`() throws {
    let tokenizer = try demoTokenizer()
    for text in ["user\nhello", "the king", "\n\n\n", "é"] {
      let whole = tokenizer.encode(text, addBOS: false, parseSpecial: false)
      let bytes = Array(text.unicodeScalars)
      for cut in 0...bytes.count {
        func part(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
          String(String.UnicodeScalarView(scalars))
        }
        let pieces: [PromptPiece] = [
          .template(part(bytes[..<cut])), .plain(part(bytes[cut...])),
        ]
        #expect(try tokenizer.encode(pieces) == whole, "\(pieces)")
      }
    }
  }

  @Test(arguments: ["a", "\n", " ", "<", "the ", "王"])
  func `time grows with the text, not with its square`(unit: String) throws {
    let tokenizer = try demoTokenizer()
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

  private func randomWord(_ random: inout SeededRandom, _ lengths: ClosedRange<Int>) -> String {
    let letters: [Character] = ["a", "a", "a", "b", "b", "c", " ", "▁", "<", ">", "é", "王"]
    let count = Int.random(in: lengths, using: &random)
    return String((0..<count).map { _ in letters.randomElement(using: &random) ?? "a" })
  }

  private func randomVocabulary(_ random: inout SeededRandom) -> SmallVocabulary {
    var texts: Set<String> = []
    var tokens: [SmallVocabulary.Token] = []
    if Bool.random(using: &random) { tokens.append(.init(text: "<unk>", type: 2)) }
    if Bool.random(using: &random) {
      for byte in 0..<256 {
        let digits = String(byte, radix: 16, uppercase: true)
        tokens.append(.init(text: "<0x\(byte < 16 ? "0" : "")\(digits)>", type: 6))
      }
    }
    for letter in ["a", "b", "▁", "<", "é"] { texts.insert(letter) }
    for _ in 0..<Int.random(in: 5...60, using: &random) {
      texts.insert(randomWord(&random, 1...5).replacing(" ", with: "▁"))
    }
    for text in texts.sorted() {
      let type =
        text.unicodeScalars.count < 2 ? 1 : [1, 1, 1, 1, 3, 4].randomElement(using: &random)
      let score = Float(Int.random(in: -6...0, using: &random))
      tokens.append(.init(text: text, type: type ?? 1, score: score))
    }
    var vocabulary = SmallVocabulary(tokens)
    vocabulary.addsSpacePrefix = Bool.random(using: &random)
    return vocabulary
  }
}
