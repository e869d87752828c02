// The words that a descriptor names, one after another.

/// A walk over the words of a descriptor.
struct Walk {
  /// How many dimensions there are, and what each has.
  private let depth: Int
  private var counts = InlineArray<4, Int>(repeating: .max)
  private var steps = InlineArray<4, Int>(repeating: 1)
  private var places = InlineArray<4, Int>(repeating: 0)
  private(set) var left: Int
  /// The next word, as a distance from the beginning of the memory.
  private(set) var word: Int

  /// - Parameters:
  ///   - descriptor: What to walk over.
  ///   - base: Where its first word is.
  init(_ descriptor: BufferDescriptor, from base: Int) {
    depth = max(1, descriptor.dimensions.count)
    for (place, dimension) in descriptor.dimensions.enumerated() {
      counts[place] = dimension.count ?? .max
      steps[place] = dimension.step
    }
    left = descriptor.length
    word = base
  }

  /// Goes on to the next word.
  mutating func advance() {
    left -= 1
    for dimension in 0..<depth {
      places[dimension] += 1
      word += steps[dimension]
      if places[dimension] < counts[dimension] { return }
      word -= steps[dimension] * counts[dimension]
      places[dimension] = 0
    }
  }
}
