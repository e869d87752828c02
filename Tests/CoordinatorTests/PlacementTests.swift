// Which worker holds which layers: splits as asked for, and splits by threads.

import Coordinator
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

  @Test func `more devices than layers, or none, are refused`() {
    for threads in [[], [1, 1, 1, 1]] {
      let message = refusal { () throws(CoordinatorError) in
        try Placement(threads: threads, layerCount: 3)
      }
      #expect(message?.contains("\(threads.count) devices for 3 layers") == true)
    }
  }

  @Test func `equal threads share evenly, unequal ones in proportion`() throws {
    #expect(counts(try Placement(threads: [1, 1, 1], layerCount: 30)) == [10, 10, 10])
    #expect(counts(try Placement(threads: [2, 1], layerCount: 30)) == [20, 10])
    #expect(counts(try Placement(threads: [1, 1, 4], layerCount: 35)) == [6, 6, 23])
    #expect(counts(try Placement(threads: [100, 1, 1], layerCount: 4)) == [2, 1, 1])
    #expect(counts(try Placement(threads: [0, 0], layerCount: 2)) == [1, 1])
  }

  @Test(.seeded(default: 61)) func `a split by threads is whole, fair and leaves nobody empty`()
    throws
  {
    var random = SeededRandom(testSeed(default: 61))
    for _ in 0..<fuzzIterations(default: 2000) {
      let layerCount = Int.random(in: 1...62, using: &random)
      let workers = Int.random(in: 1...min(layerCount, 9), using: &random)
      let threads = (0..<workers).map { _ in Int.random(in: 1...24, using: &random) }
      let split = counts(try Placement(threads: threads, layerCount: layerCount))
      let total = threads.reduce(0, +)
      #expect(split.count == workers)
      #expect(split.reduce(0, +) == layerCount)
      #expect(split.allSatisfy { $0 >= 1 })
      let shares = threads.map { Double(layerCount * $0) / Double(total) }
      for (count, share) in zip(split, shares) where shares.allSatisfy({ $0 >= 1 }) {
        // Nobody is a whole layer away from its share.
        #expect(abs(Double(count) - share) < 1, "\(threads) → \(split) of \(layerCount)")
      }
      for (one, other) in zip(threads, split).flatMap({ pair in
        zip(threads, split).map { (pair, $0) }
      }) where one.0 > other.0 {
        #expect(one.1 >= other.1, "\(threads) → \(split) of \(layerCount)")
      }
    }
  }
}
