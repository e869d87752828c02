// Types for tensors under a limit of bytes, against all ways to choose.

import Compute
import Quantization
import TestSupport
import Testing

@Suite struct `Type knapsack` {
  private typealias Option = TypeOptions.Option

  private static let seed: UInt64 = 20_261_133

  /// A few tensors with some options each; some options are larger and worse than others.
  private func tensors(_ random: inout SeededRandom) -> [TypeOptions] {
    (0..<Int.random(in: 1...4, using: &random)).map { _ in
      TypeOptions(
        TensorType.allCases.shuffled(using: &random).prefix(Int.random(in: 1...5, using: &random))
          .map { type in
            Option(
              type: type,
              byteCount: Int.random(in: 1...30, using: &random),
              damage: Double(Int.random(in: 0...100, using: &random)) / 8
            )
          }
      )
    }
  }

  private func bytes(_ chosen: [TypeOptions.Option]) -> Int {
    chosen.reduce(0) { $0 + $1.byteCount }
  }
  private func damage(_ chosen: [TypeOptions.Option]) -> Double {
    chosen.reduce(0) { $0 + $1.damage }
  }

  /// Returns the least damage of all ways to choose; nil if none fits.
  private func leastDamage(_ tensors: ArraySlice<TypeOptions>, capacity: Int) -> Double? {
    guard let first = tensors.first else { return capacity >= 0 ? 0 : nil }
    return first.options.compactMap { option in
      leastDamage(tensors.dropFirst(), capacity: capacity - option.byteCount).map {
        $0 + option.damage
      }
    }
    .min()
  }

  /// The most damage that one step between neighbours on the lower convex hull saves.
  ///
  /// An option is on the hull if at some price of a byte it is the best; between the prices at which two options cost
  /// the same the best one stays the same.
  private func largestStep(_ tensor: TypeOptions) -> Double {
    var prices: [Double] = [0]
    for a in tensor.options {
      for b in tensor.options where b.byteCount > a.byteCount && b.damage < a.damage {
        prices.append((a.damage - b.damage) / Double(b.byteCount - a.byteCount))
      }
    }
    prices.sort()
    prices.append((prices.last ?? 0) + 2)
    let corners = zip(prices, prices.dropFirst()).filter { $0 < $1 }.compactMap { low, high in
      let price = (low + high) / 2
      return tensor.options.map { ($0.damage + price * Double($0.byteCount), $0.damage) }
        .min { $0.0 < $1.0 }?.1
    }
    return zip(corners, corners.dropFirst()).map { abs($0 - $1) }.max() ?? 0
  }

  @Test(.seeded(default: seed)) func `the choice fits, and all others are at most a step better`()
    throws
  {
    var random = SeededRandom(testSeed(default: Self.seed))
    var (optimal, chosenCount) = (0, 0)
    for _ in 0..<fuzzIterations(default: 300) {
      let tensors = tensors(&random)
      let step = tensors.map(largestStep).max() ?? 0
      for capacity in stride(from: 0, through: 120, by: 7) {
        let least = leastDamage(tensors[...], capacity: capacity)
        let chosen = TypeKnapsack.choose(tensors, capacity: capacity)
        #expect((chosen == nil) == (least == nil), "\(tensors), \(capacity) bytes")
        guard let chosen, let least else { continue }
        #expect(chosen.count == tensors.count)
        for (option, tensor) in zip(chosen, tensors) { #expect(tensor.options.contains(option)) }
        #expect(bytes(chosen) <= capacity, "\(tensors), \(capacity) bytes")
        // Up to the first step that does not fit, the steps are the best for their bytes; whatever is optimal saves
        // less than that one step more (Dantzig's bound), and filling saves again.
        let worse = damage(chosen) - least
        #expect(
          worse >= -1e-9 && worse <= step + 1e-9,
          "\(worse) worse: \(tensors), \(capacity) bytes"
        )
        chosenCount += 1
        if worse < 1e-9 { optimal += 1 }
      }
    }
    // The bound alone would pass a choice that is always a step short.
    #expect(Double(optimal) > 0.75 * Double(chosenCount), "\(optimal) of \(chosenCount) optimal")
  }

  @Test(.seeded(default: seed)) func `more bytes never do more damage`() {
    var random = SeededRandom(testSeed(default: Self.seed))
    for _ in 0..<fuzzIterations(default: 300) {
      let tensors = tensors(&random)
      var last = Double.infinity
      for capacity in 0...130 {
        guard let chosen = TypeKnapsack.choose(tensors, capacity: capacity) else { continue }
        #expect(damage(chosen) <= last + 1e-9, "\(tensors), \(capacity) bytes")
        last = damage(chosen)
      }
      // With bytes for all, all have their best.
      let best = tensors.reduce(0) { $0 + ($1.options.map(\.damage).min() ?? 0) }
      #expect(abs(last - best) < 1e-9, "\(tensors)")
    }
  }

  @Test(.seeded(default: seed)) func `the order of options does not matter`() {
    var random = SeededRandom(testSeed(default: Self.seed))
    for _ in 0..<fuzzIterations(default: 300) {
      let tensors = tensors(&random)
      let capacity = Int.random(in: 0...120, using: &random)
      let chosen = TypeKnapsack.choose(tensors, capacity: capacity)
      let shuffled = tensors.map { TypeOptions($0.options.shuffled(using: &random)) }
      #expect(
        TypeKnapsack.choose(shuffled, capacity: capacity) == chosen,
        "\(tensors), \(capacity) bytes"
      )
      // Nor that of tensors, but for equally good steps.
      let reversed = TypeKnapsack.choose(tensors.reversed(), capacity: capacity)
      #expect((reversed == nil) == (chosen == nil))
    }
  }

  @Test func `without tensors there is nothing to choose`() {
    #expect(TypeKnapsack.choose([], capacity: 0) == [])
    #expect(TypeKnapsack.choose([], capacity: -1) == nil)
    #expect(TypeKnapsack.choose([TypeOptions([])], capacity: 100) == nil)
  }

  @Test func `what is left over goes to smaller steps of others`() {
    func option(_ type: TensorType, _ byteCount: Int, _ damage: Double) -> TypeOptions.Option {
      .init(type: type, byteCount: byteCount, damage: damage)
    }
    let large = TypeOptions([option(.q4_0, 10, 50), option(.q8_0, 20, 0)])
    let small = TypeOptions([option(.q4_0, 2, 4), option(.q8_0, 4, 0)])
    func types(_ capacity: Int) -> [TensorType]? {
      TypeKnapsack.choose([large, small], capacity: capacity)?.map(\.type)
    }
    #expect(types(11) == nil)
    #expect(types(12) == [.q4_0, .q4_0])
    #expect(types(15) == [.q4_0, .q8_0])
    #expect(types(22) == [.q8_0, .q4_0])
    #expect(types(24) == [.q8_0, .q8_0])
  }

  @Test func `of two types with the same bytes the better one is taken`() {
    let tensor = TypeOptions([
      .init(type: .q4_0, byteCount: 18, damage: 2), .init(type: .iq4_nl, byteCount: 18, damage: 1),
      .init(type: .q8_0, byteCount: 34, damage: 1),
    ])
    for capacity in [18, 34, 100] {
      #expect(TypeKnapsack.choose([tensor], capacity: capacity)?.map(\.type) == [.iq4_nl])
    }
  }
}
