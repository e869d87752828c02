// Chooses a type for each tensor so that the damage is least for the bytes that may be used.

package import Compute

/// What each type costs a tensor.
package struct TypeOptions: Sendable {
  /// One possible type.
  package struct Option: Sendable, Hashable {
    package var type: TensorType
    package var byteCount: Int
    /// The damage; additive over tensors.
    package var damage: Double

    package init(type: TensorType, byteCount: Int, damage: Double) {
      self.type = type
      self.byteCount = byteCount
      self.damage = damage
    }
  }

  package var options: [Option]

  package init(_ options: [Option]) { self.options = options }

  /// The options on the lower convex hull of damage over bytes, the smallest first: each further byte saves less
  /// damage than the one before.
  fileprivate var hull: [Option] {
    let sorted = options.sorted {
      ($0.byteCount, $0.damage, $0.type.number) < ($1.byteCount, $1.damage, $1.type.number)
    }
    var hull: [Option] = []
    for option in sorted {
      if let last = hull.last, option.damage >= last.damage || option.byteCount == last.byteCount {
        continue
      }
      while hull.count >= 2,
        Self.gain(hull[hull.count - 1], option)
          >= Self.gain(hull[hull.count - 2], hull[hull.count - 1])
      {
        hull.removeLast()
      }
      hull.append(option)
    }
    return hull
  }

  /// The damage that a byte saves between two options.
  static func gain(_ from: Option, _ to: Option) -> Double {
    (from.damage - to.damage) / Double(to.byteCount - from.byteCount)
  }
}

/// A knapsack of tensors.
package enum TypeKnapsack {
  /// Returns an option for each tensor, whose bytes together are at most `capacity` and whose damage is least.
  ///
  /// It begins with the smallest options and takes the step that saves the most damage for a byte, again and again
  /// (the greedy algorithm on convex hulls, which is optimal but for the last steps; Sinha and Zoltners, "The
  /// multiple-choice knapsack problem", 1979). Steps that no longer fit are passed over, so that smaller ones of
  /// other tensors use what is left.
  ///
  /// - Parameters:
  ///   - tensors: The options of each, at least one.
  ///   - capacity: The most bytes.
  /// - Returns: One option for each, in their order; nil if even the smallest do not fit.
  /// - Complexity: O(n log n) in the number of all options.
  package static func choose(_ tensors: [TypeOptions], capacity: Int) -> [TypeOptions.Option]? {
    let hulls = tensors.map(\.hull)
    var places = Array(repeating: 0, count: hulls.count)
    var bytes = hulls.reduce(0) { $0 + ($1.first?.byteCount ?? 0) }
    guard bytes <= capacity, hulls.allSatisfy({ !$0.isEmpty }) else { return nil }
    var steps: [(gain: Double, tensor: Int, place: Int)] = []
    for (tensor, hull) in hulls.enumerated() {
      for place in hull.indices.dropFirst() {
        steps.append((TypeOptions.gain(hull[place - 1], hull[place]), tensor, place))
      }
    }
    // Steps of one tensor come in order, because gains fall along its hull.
    steps.sort { ($0.gain, $1.tensor, $1.place) > ($1.gain, $0.tensor, $0.place) }
    for step in steps where step.place == places[step.tensor] + 1 {
      let hull = hulls[step.tensor]
      let more = hull[step.place].byteCount - hull[step.place - 1].byteCount
      guard bytes + more <= capacity else { continue }
      bytes += more
      places[step.tensor] = step.place
    }
    return zip(hulls, places).map { $0[$1] }
  }
}
