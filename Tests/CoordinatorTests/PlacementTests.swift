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

  private func counts(_ placement: Placement) -> [Int] { placement.stages.map(\.layers.count) }

  private let line = ModelLine(layerCount: 30, vocabularySize: 262_144)

  private func slice(_ layers: Range<Int>, _ vocabulary: Range<Int> = 0..<0) -> ModelSlice {
    ModelSlice(layers: layers, vocabulary: vocabulary)
  }

  @Test func `a split becomes consecutive stages`() throws {
    let placement = try Placement(split: [12, 8, 10], line: line, workerCount: 3)
    let last = slice(20..<30, 0..<262_144)
    #expect(placement.stages == [slice(0..<12), slice(12..<20), last])
    let one = try Placement(split: [30], line: line, workerCount: 1)
    #expect(one.stages == [slice(0..<30, 0..<262_144)])
  }

  @Test func `the vocabulary is cut in proportion, from the stage with the last layer on`() throws {
    let two = try Placement(split: [30, 0], logitsSplit: [1, 3], line: line, workerCount: 2)
    #expect(two.stages == [slice(0..<30, 0..<65_536), slice(30..<30, 65_536..<262_144)])
    let three = try Placement(split: [20, 10, 0], logitsSplit: [1, 2], line: line, workerCount: 3)
    // A third is no multiple of 64 rows.
    #expect(
      three.stages == [
        slice(0..<20), slice(20..<30, 0..<87_360), slice(30..<30, 87_360..<262_144),
      ]
    )
    let none = try Placement(
      split: [30, 0, 0],
      logitsSplit: [0, 5, 5],
      line: line,
      workerCount: 3
    )
    #expect(
      none.stages == [
        slice(0..<30), slice(30..<30, 0..<131_072), slice(30..<30, 131_072..<262_144),
      ]
    )
    for placement in [two, three, none] { #expect(placement.stages.allSatisfy(line.holds)) }
    let same = try Placement(split: [20, 10], logitsSplit: [7], line: line, workerCount: 2)
    #expect(same == (try Placement(split: [20, 10], line: line, workerCount: 2)))
  }

  @Test func `a vocabulary split that does not fit is refused by name`() {
    let refusals: [(split: [Int], logits: [Int], text: String)] = [
      (
        [30, 0], [1],
        "logits split 1 has 1 numbers; from the stage with the last layer on there are 2"
      ),
      ([20, 10], [1, 3], "logits split 1,3 has 2 numbers; from the stage with the last layer on"),
      ([30, 0], [1, 0], "logits split 1,0 leaves a stage without layers and vocabulary rows"),
      ([30, 0], [0, 0], "logits split 0,0 leaves a stage without layers and vocabulary rows"),
      ([30, 0], [3, -1], "logits split 3,-1 leaves a stage"),
      ([10, 0, 20], [1], "split 10,0,20 has a stage without layers"),
      (
        [30, 0, 0], [1_000_000, 1, 1_000_000],
        "logits split 1000000,1,1000000: 1 is too small a part"
      ),
      ([29, 0], [1, 3], "adds up to 29 layers"),
    ]
    for (split, logits, text) in refusals {
      let message = refusal { () throws(CoordinatorError) in
        try Placement(
          split: split,
          logitsSplit: logits,
          line: line,
          workerCount: split.count
        )
      }
      #expect(message?.contains(text) == true, "\(message ?? "accepted")")
    }
  }

  @Test func `a split that does not fit the workers or the layers is refused by name`() {
    let refusals: [(split: [Int], workers: Int, text: String)] = [
      ([10, 20], 3, "split 10,20 has 2 stages for 3 devices"),
      ([], 1, "0 stages for 1 devices"),
      ([10, 0, 20], 3, "split 10,0,20 has a stage without layers"),
      ([40, -10], 2, "split 40,-10 has a stage without layers"),
      ([10, 10, 9], 3, "split 10,10,9 adds up to 29 layers, but the model has 30"),
      ([30, 1], 2, "adds up to 31 layers, but the model has 30"),
      ([Int.max, Int.max], 2, "out of range"),
    ]
    for (split, workers, text) in refusals {
      let message = refusal { () throws(CoordinatorError) in
        try Placement(split: split, line: line, workerCount: workers)
      }
      #expect(message?.contains(text) == true, "\(message ?? "accepted")")
    }
  }

  /// Layers that all read the same, and logits that read nothing.
  private func even(_ layerCount: Int) -> DecodeCost {
    DecodeCost(
      layers: Array(repeating: 1, count: layerCount),
      head: 0,
      vocabularySize: 1
    )
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

  @Test
  func `large logits leave fewer layers to the last stage, and are cut where that is worth it`()
    throws
  {
    func cost(head: Double) -> DecodeCost {
      DecodeCost(
        layers: Array(repeating: 1, count: 18),
        head: head,
        vocabularySize: 262_144
      )
    }
    // 11 layers against 7 and the logits: no cut makes the slowest stage any faster.
    let even = try Placement(cost: cost(head: 4), rates: [1, 1])
    #expect(even.stages == [slice(0..<11), slice(11..<18, 0..<262_144)])
    // Twice as large as all layers, as in Gemma 3 270M: 27 each, which is 9 of 36 for the first.
    let huge = try Placement(cost: cost(head: 36), rates: [1, 1])
    #expect(
      huge.stages == [slice(0..<18, 0..<65_536), slice(18..<18, 65_536..<262_144)]
    )
    let three = try Placement(cost: cost(head: 36), rates: [1, 1, 1])
    #expect(
      three.stages == [
        slice(0..<18), slice(18..<18, 0..<131_072), slice(18..<18, 131_072..<262_144),
      ]
    )
    // 55 against 54, which is less than what handing logits on must gain.
    let many = DecodeCost(
      layers: Array(repeating: 1, count: 54),
      head: 54,
      vocabularySize: 262_144
    )
    #expect(counts(try Placement(cost: many, rates: [1, 1])) == [53, 1])
  }

  @Test(.seeded(default: 61)) func `no other placement has a faster slowest stage`() throws {
    var random = SeededRandom(testSeed(default: 61))
    for _ in 0..<fuzzIterations(default: 300) {
      let layerCount = Int.random(in: 1...6, using: &random)
      let rates = (0..<Int.random(in: 1...min(layerCount, 4), using: &random)).map { _ in
        Double(Int.random(in: 1...8, using: &random))
      }
      let cost = DecodeCost(
        layers: (0..<layerCount).map { _ in Double.random(in: 0...4, using: &random) },
        head: Double.random(in: 0...20, using: &random),
        vocabularySize: Int.random(in: 1...5, using: &random)
      )
      let found = try Placement(cost: cost, rates: rates)
      #expect(found.stages.allSatisfy(cost.line.holds))
      let best =
        everyCut(of: cost.line.pieceCount, into: rates.count)
        .map { slowest($0.map { cost.line.slice(pieces: $0) }, cost, rates) }.min() ?? 0
      let got = slowest(found.stages, cost, rates)
      #expect(got <= best * (1 + Planner.worthwhileGain) + 1e-9, "\(rates) → \(found) of \(cost)")
      // What is not cut in the vocabulary is the best of those.
      guard found.stages.allSatisfy({ $0.vocabulary.isEmpty || cost.line.isLast($0) }),
        !(found.stages.last?.layers.isEmpty ?? true)
      else {
        #expect(got <= best + 1e-9)
        continue
      }
      let whole =
        everyCut(of: layerCount, into: rates.count)
        .map { slowest($0.map { cost.line.slice(layers: $0) }, cost, rates) }.min() ?? 0
      #expect(got <= whole + 1e-9)
    }
  }

  private func slowest(
    _ stages: [ModelSlice],
    _ cost: DecodeCost,
    _ rates: [Double]
  ) -> Double {
    zip(stages, rates).map { cost.bytes(of: $0) / $1 }.max() ?? 0
  }

  private func everyCut(of count: Int, into stageCount: Int, from first: Int = 0) -> [[Range<Int>]]
  {
    if stageCount == 1 { return [[first..<count]] }
    return (first + 1...count - stageCount + 1).flatMap { end in
      everyCut(of: count, into: stageCount - 1, from: end).map { [first..<end] + $0 }
    }
  }
}
