// Streamed text is the whole text, cut only between characters.

import Gemma
import TestSupport
import Testing

@Suite struct `Streamed text` {
  @Test(.seeded(default: 21))
  func `token by token, text is what decoding all at once gives`() throws {
    var random = SeededRandom(testSeed(default: 21))
    let tokenizer = try demoTokenizer()
    for round in 0..<fuzzIterations(default: 400) {
      // Tokens of text, or any tokens: bytes that are no UTF-8 among them.
      let tokens =
        round.isMultiple(of: 2)
        ? tokenizer.encode(randomText(&random), addBOS: true, parseSpecial: true)
        : (0..<40).map { _ in
          Int32.random(
            in: [0...1023, 7...262].randomElement(using: &random) ?? 0...0,
            using: &random
          )
        }
      for skipSpecial in [false, true] {
        var detokenizer = Detokenizer(tokenizer, skipSpecial: skipSpecial)
        var text = tokens.map { detokenizer.append($0) }.joined()
        text += detokenizer.flush()
        let whole = try tokenizer.decode(tokens, skipSpecial: skipSpecial)
        #expect(text.utf8.elementsEqual(whole.utf8), "\(tokens)")
        #expect(detokenizer.flush() == "")
      }
    }
  }

  @Test func `a character leaves when its last byte has come, and not before`() throws {
    let tokenizer = try demoTokenizer()
    let tokens = tokenizer.encode("👑", addBOS: false, parseSpecial: false)
    #expect(tokens.count == 4, "the demo vocabulary has learnt emoji")
    var detokenizer = Detokenizer(tokenizer)
    #expect(tokens.map { detokenizer.append($0) } == ["", "", "", "👑"])
    #expect(detokenizer.flush() == "")
  }

  @Test func `what can never become a character is replaced at once`() throws {
    let tokenizer = try demoTokenizer()
    func token(_ byte: Int) -> Int32 { Int32(7 + byte) }
    #expect(tokenizer.bytes(of: token(0xE0)) == [0xE0])
    var detokenizer = Detokenizer(tokenizer)
    #expect(detokenizer.append(token(0xFF)) == "\u{FFFD}")
    #expect(detokenizer.append(token(0xE0)) == "")
    // After E0 no character continues with 80.
    #expect(detokenizer.append(token(0x80)) == "\u{FFFD}\u{FFFD}")
    #expect(detokenizer.append(token(0xF0)) == "")
    #expect(detokenizer.append(token(0x41)) == "\u{FFFD}A")
    #expect(detokenizer.append(token(0xC3)) == "")
    #expect(detokenizer.flush() == "\u{FFFD}")
  }

  @Test func `an id without a token adds nothing`() throws {
    var detokenizer = Detokenizer(try demoTokenizer())
    #expect(detokenizer.append(1024) == "")
    #expect(detokenizer.append(-1) == "")
    #expect(detokenizer.flush() == "")
  }
}
