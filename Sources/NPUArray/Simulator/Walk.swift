// The words that a descriptor names, one after another.

/// A walk over the words of a descriptor.
struct Walk {
  private let counts: [Int]
  private let steps: [Int]
  private var places: [Int]
  private(set) var left: Int
  /// The next word, as a distance from the beginning of the memory.
  private(set) var word: Int

  /// - Parameters:
  ///   - descriptor: What to walk over.
  ///   - base: Where its first word is.
  init(_ descriptor: BufferDescriptor, from base: Int) {
    let dimensions = descriptor.dimensions.isEmpty ? [Dimension(nil, 1)] : descriptor.dimensions
    counts = dimensions.map { $0.count ?? .max }
    steps = dimensions.map(\.step)
    places = Array(repeating: 0, count: dimensions.count)
    left = descriptor.length
    word = base
  }

  /// Goes on to the next word.
  mutating func advance() {
    left -= 1
    for dimension in places.indices {
      places[dimension] += 1
      word += steps[dimension]
      if places[dimension] < counts[dimension] { return }
      word -= steps[dimension] * counts[dimension]
      places[dimension] = 0
    }
  }
}
