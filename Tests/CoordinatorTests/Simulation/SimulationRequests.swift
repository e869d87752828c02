// What a simulation begins with: where layers lie, and what clients ask.

import Gemma
import TestSupport
import Wire

@testable import Coordinator

extension SeededRandom {
  /// Returns the six layers and the logits, in 32 pieces, on one to three workers.
  mutating func plan() -> [PlannedWorker] {
    let line = ModelLine(layerCount: Harness.layerCount, vocabularySize: 64)
    var ends: Set<Int> = []
    for _ in 0..<Int.random(in: 0...2, using: &self) {
      // Between layers, or now and then in the logits.
      let range = Bool.random(using: &self) ? 1...5 : 1...(line.pieceCount - 1)
      ends.insert(Int.random(in: range, using: &self))
    }
    let cuts = [0] + ends.sorted() + [line.pieceCount]
    return zip(cuts, cuts.dropFirst()).enumerated().map { index, cut in
      PlannedWorker(
        name: "cpu-\(index)",
        device: "cpu",
        slice: line.slice(pieces: cut.0..<cut.1)
      )
    }
  }

  /// Returns a request to generate or evaluate.
  mutating func request(_ number: UInt64) -> Message {
    let tokens = promptTokens()
    switch Int.random(in: 0..<6, using: &self) {
    case 0: return Harness.evaluate(tokens, .logits, request: number)
    case 1:
      return Harness.evaluate(
        tokens,
        .scores,
        request: number,
        firstScored: Int.random(in: 0...4, using: &self)
      )
    default:
      let count = Int.random(in: 1...7, using: &self)
      let seed = UInt64.random(in: 0...9, using: &self)
      let stops = Bool.random(using: &self) ? ["e", "the"] : []
      let likeliest = Int.random(in: -2...3, using: &self)
      return Harness.generate(.tokens(tokens), request: number, count: count) { generate in
        generate.sampling.seed = seed
        generate.stops = stops
        generate.sampling.returnsLogProbabilities = likeliest >= 0
        generate.sampling.likeliest = max(0, likeliest)
      }
    }
  }

  /// Returns a prompt; they often begin alike, so that prefixes are taken over.
  private mutating func promptTokens() -> [Int32] {
    let count = Int.random(in: 1...9, using: &self)
    let shared = Bool.random(using: &self) ? Int.random(in: 0...count, using: &self) : 0
    return (0..<count).map { index in
      index < shared ? Int32(10 + index) : Int32.random(in: 3..<64, using: &self)
    }
  }

  /// Returns a placement to ask for: legal ones for the most part, with workers that stand by.
  mutating func rebalance(_ request: UInt64, of names: [String]) -> Rebalance {
    var split = names.map { _ in 0 }
    for _ in 0..<6 { split[Int.random(in: 0..<split.count, using: &self)] += 1 }
    var logitsSplit: [Int] = []
    let holder = split.lastIndex { $0 > 0 } ?? 0
    if holder + 1 < split.count, Bool.random(using: &self) {
      logitsSplit = [Int.random(in: 0...2, using: &self)]
      for _ in 0..<Int.random(in: 1..<split.count - holder, using: &self) {
        logitsSplit.append(Int.random(in: 1...3, using: &self))
      }
    }
    return Rebalance(request: request, split: split, logitsSplit: logitsSplit)
  }
}
