// The model of whole numbers: what makes it fit to find what a pipeline loses, repeats or mixes up.

import Compute
import Testing

@testable import Coordinator

@Suite struct `The token model` {
  private let model = TokenModel(vocabularySize: 64)
  private let tokens: [Int32] = Array(3..<27)

  @Test func `every token before shows in the logits, as does its place`() {
    let want = model.logits(tokens)
    for index in tokens.indices {
      var changed = tokens
      changed[index] = 63
      #expect(model.logits(changed) != want, "token \(index) is another")
      changed = tokens
      changed.remove(at: index)
      #expect(model.logits(changed) != want, "token \(index) is missing")
      changed.insert(tokens[index], at: (index + 1) % tokens.count)
      #expect(model.logits(changed) != want, "token \(index) is elsewhere")
    }
  }

  @Test func `a scripted token is always drawn, and those of the structure never are`() {
    var scripted = model
    scripted.script = [24: 7, 25: 2]
    for seed in UInt64(0)..<50 {
      let answer = scripted.continuation(of: tokens, Harness.sampling(seed: seed), count: 8)
      #expect(answer.prefix(2) == [7, 2])
      #expect(answer.dropFirst(2).allSatisfy { $0 > 2 })
    }
  }

  @Test func `a ring throws for a position that it has written over`() throws {
    let limits = ExecutableLimits(maxRows: 2, slots: 1, contextTokens: 32)
    let cache = TokenCache(Cache(layer: 1, kvHeadCount: 1, headDim: 8, window: 3), limits)
    for position in 0..<6 {
      let row = TokenRow(state: 1, token: 5, position: position)
      cache.put(row, at: position, slot: 0)
    }
    #expect(try cache.read(2..<6, slot: 0).keys.count == 4 * 8)
    #expect(throws: ComputeError.self) { try cache.read(1..<6, slot: 0) }
  }
}
