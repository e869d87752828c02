// Which worker holds which layers: splits as asked for, and splits by cost.

import Coordinator
import Gemma
import TestSupport
import Testing

@Suite struct `Layer placement` {
  /// Returns why a placement is refused; nil if it is not.
  private func refusal(_ make: () throws(CoordinatorError) -> Placement) -> String? {
    do throws(CoordinatorError) {
      _ = try make()
      return nil
    } catch {
      #expect(error.code == .placement)
      return error.message
    }
  }

  private func counts(_ placement: Placement) -> [Int] { placement.stages.map(\.count) }

  @Test func `a split becomes consecutive stages`() throws {
    let placement = try Placement(split: [12, 8, 10], layerCount: 30, workerCount: 3)
    #expect(placement.stages == [0..<12, 12..<20, 20..<30])
    #expect(try Placement(split: [30], layerCount: 30, workerCount: 1).stages == [0..<30])
  }

  @Test func `a split that does not fit the workers or the layers is refused by name`() {
    let refusals: [(split: [Int], workers: Int, text: String)] = [
      ([10, 20], 3, "split 10,20 has 2 stages for 3 devices"),
      ([], 1, "0 stages for 1 devices"),
      ([10, 0, 20], 3, "split 10,0,20 has a stage without layers"),
      ([40, -10], 2, "split 40,-10 has a stage without layers"),
      ([10, 10, 9], 3, "split 10,10,9 adds up to 29 layers, the model has 30"),
      ([30, 1], 2, "adds up to 31 layers, the model has 30"),
      ([Int.max, Int.max], 2, "out of range"),
    ]
    for (split, workers, text) in refusals {
      let message = refusal { () throws(CoordinatorError) in
        try Placement(split: split, layerCount: 30, workerCount: workers)
      }
      #expect(message?.contains(text) == true, "\(message ?? "accepted")")
    }
  }

  /// Layers that all read the same, and logits that read nothing.
  private func even(_ layerCount: Int) -> DecodeCost {
    DecodeCost(layers: Array(repeating: 1, count: layerCount), head: 0)
  }

  @Test func `more devices than layers, or none, are refused`() {
    for threads in [[], [1, 1, 1, 1]] as [[Double]] {
      let message = refusal { () throws(CoordinatorError) in
        try Placement(cost: even(3), rates: threads)
      }
      #expect(message?.contains("\(threads.count) devices for 3 layers") == true)
    }
  }

  @Test func `equal threads share equal layers evenly, unequal ones in proportion`() throws {
    #expect(counts(try Placement(cost: even(30), rates: [1, 1, 1])) == [10, 10, 10])
    #expect(counts(try Placement(cost: even(30), rates: [2, 1])) == [20, 10])
    #expect(counts(try Placement(cost: even(4), rates: [100, 1, 1])) == [2, 1, 1])
  }

  @Test func `large logits leave fewer layers to the last stage`() throws {
    let cost = DecodeCost(layers: Array(repeating: 1, count: 18), head: 4)
    #expect(counts(try Placement(cost: cost, rates: [1, 1])) == [11, 7])
    let huge = DecodeCost(layers: Array(repeating: 1, count: 18), head: 48)
    #expect(counts(try Placement(cost: huge, rates: [1, 1, 1])).sorted() == [1, 8, 9])
    #expect(counts(try Placement(cost: huge, rates: [1, 1, 1])).last == 1)
  }

  @Test(.seeded(default: 61)) func `no other split has a faster slowest stage`() throws {
    var random = SeededRandom(testSeed(default: 61))
    for _ in 0..<fuzzIterations(default: 300) {
      let layerCount = Int.random(in: 1...9, using: &random)
      let threads = (0..<Int.random(in: 1...min(layerCount, 4), using: &random)).map { _ in
        Double(Int.random(in: 1...8, using: &random))
      }
      let cost = DecodeCost(
        layers: (0..<layerCount).map { _ in Double.random(in: 0...4, using: &random) },
        head: Double.random(in: 0...20, using: &random)
      )
      let split = counts(try Placement(cost: cost, rates: threads))
      let best = everySplit(of: layerCount, into: threads.count)
        .map { slowest($0, cost, threads) }.min()
      #expect(slowest(split, cost, threads) == best, "\(threads) → \(split) of \(cost)")
    }
  }

  private func slowest(_ split: [Int], _ cost: DecodeCost, _ threads: [Double]) -> Double {
    var layers = cost.layers[...]
    return zip(split.indices, split).map { stage, count in
      let head = stage == split.count - 1 ? cost.head : 0
      defer { layers = layers.dropFirst(count) }
      return layers.prefix(count).reduce(head, +) / threads[stage]
    }.max() ?? 0
  }

  private func everySplit(of layerCount: Int, into stageCount: Int) -> [[Int]] {
    if stageCount == 1 { return [[layerCount]] }
    return (1...(layerCount - stageCount + 1)).flatMap { first in
      everySplit(of: layerCount - first, into: stageCount - 1).map { [first] + $0 }
    }
  }
}
