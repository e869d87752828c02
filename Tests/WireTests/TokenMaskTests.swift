// Which tokens a mask allows, in both ways to say so.

import TestSupport
import Testing
import Wire

@Suite struct `A token mask` {
  @Test(.seeded(default: 71)) func `both ways allow the same, and the smaller is taken`() throws {
    var random = SeededRandom(testSeed(default: 71))
    var lists = 0
    for _ in 0..<fuzzIterations(default: 500) {
      let size = Int.random(in: 1...3000, using: &random)
      let count = Int.random(in: 0...(Bool.random(using: &random) ? 20 : size), using: &random)
      let tokens = Set((0..<count).map { _ in Int32.random(in: 0..<Int32(size), using: &random) })
      let mask = TokenMask(allowing: tokens)
      if case .tokens = mask.allowed { lists += 1 }
      for token in 0..<Int32(size) {
        #expect(mask.allows(token) == tokens.contains(token))
      }
      #expect(!mask.allows(Int32(size) + 8))
      let list = TokenMask(allowed: .tokens(tokens.sorted()))
      #expect(mask.byteCount <= min(list.byteCount, (size + 7) / 8))
      #expect((mask.complaint(vocabularySize: size) == nil) == !tokens.isEmpty)
      // What it is thought to take is what it takes, but for the frame around it.
      let row = StepRow(slot: 0, position: 0, token: 0, output: .none, mask: mask)
      let step = Step(epoch: 1, sequence: 1, cleared: [], rows: [row], stageMicroseconds: [])
      let bytes = try Message.step(step).encoded().count
      #expect((mask.byteCount...(mask.byteCount + 40)).contains(bytes), "\(bytes)")
    }
    #expect(lists > 50 && lists < 450)
  }

  @Test func `what nothing can be drawn with is named`() {
    let masks: [(AllowedTokens, String)] = [
      (.tokens([]), "no token is allowed"), (.bits([]), "no token is allowed"),
      (.bits([0, 0]), "no token is allowed"), (.tokens([3, 16]), "token 16 is allowed"),
      (.bits([1, 0, 1]), "token 16 is allowed"), (.tokens([-1, 3]), "token -1 is allowed"),
    ]
    for (allowed, words) in masks {
      let complaint = TokenMask(allowed: allowed).complaint(vocabularySize: 16)
      #expect(complaint?.hasPrefix(words) == true, "\(allowed): \(complaint ?? "none")")
    }
    for allowed in [AllowedTokens.tokens([15]), .bits([0, 128]), .bits([0, 128, 0, 0])] {
      #expect(TokenMask(allowed: allowed).complaint(vocabularySize: 16) == nil)
    }
  }
}
