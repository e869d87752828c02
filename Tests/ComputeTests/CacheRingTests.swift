// The ring rule: room, sight, and how far back a slot can go.

import Compute
import TestSupport
import Testing

@Suite struct `Rings of caches` {
  private func ring(_ window: Int?, maxRows: Int, context: Int) -> CacheRing {
    CacheRing(
      window: window,
      limits: ExecutableLimits(maxRows: maxRows, slots: 1, contextTokens: context)
    )
  }

  @Test func `a ring has room for the window of a step's first row and all its rows`() {
    #expect(ring(512, maxRows: 128, context: 4096).capacity == 639)
    #expect(ring(4, maxRows: 1, context: 64).capacity == 4)
  }

  @Test func `no cache has room for more than the context`() {
    #expect(ring(512, maxRows: 128, context: 600).capacity == 600)
    #expect(ring(nil, maxRows: 128, context: 600).capacity == 600)
    #expect(ring(.max, maxRows: 2, context: 600).capacity == 600)
  }

  @Test func `a cache keeps what its ring says`() {
    let limits = ExecutableLimits(maxRows: 3, slots: 2, contextTokens: 20)
    let cache = Cache(layer: 0, kvHeadCount: 1, headDim: 1, window: 4)
    #expect(cache.ring(in: limits) == CacheRing(window: 4, limits: limits))
    #expect(cache.capacity(limits) == 6)
  }

  @Test func `a row sees its window before it, or all`() {
    let cache = Cache(layer: 0, kvHeadCount: 1, headDim: 1, window: 4)
    #expect(cache.seen(from: 10) == 7..<10)
    #expect(cache.seen(from: 2) == 0..<2)
    #expect(Cache(layer: 0, kvHeadCount: 1, headDim: 1, window: nil).seen(from: 9) == 0..<9)
  }

  @Test(.seeded(default: 23)) func `a slot can go back just as far as its places allow`() {
    var random = SeededRandom(testSeed(default: 23))
    for _ in 0..<fuzzIterations(default: 2000) {
      let (window, maxRows) = (
        Int.random(in: 1...9, using: &random), Int.random(in: 1...6, using: &random)
      )
      let ring = ring(window, maxRows: maxRows, context: 60)
      let reached = Int.random(in: 0...60, using: &random)
      var places: [Int: Int] = [:]
      for position in 0..<reached { places[position % ring.capacity] = position }
      let count = Int.random(in: 0...reached, using: &random)
      // A row that sees none but itself needs nothing.
      guard !ring.seen(from: count).isEmpty else { continue }
      let holds = (max(0, count - window + 1)..<count).allSatisfy {
        places[$0 % ring.capacity] == $0
      }
      #expect(
        ring.canResume(at: count, reached: reached) == holds,
        "\(ring): back to \(count) from \(reached)"
      )
    }
  }
}
