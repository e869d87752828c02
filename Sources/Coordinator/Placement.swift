// Which worker holds which layers.

package import Gemma

/// The layers of each stage, in pipeline order.
package struct Placement: Sendable, Hashable {
  /// Contiguous, non-empty, from layer 0 to the model's last.
  package let stages: [Range<Int>]

  /// Cuts the layers as a split says, for example `10,10,10`.
  ///
  /// - Throws: `CoordinatorError` with code `placement` if the split does not add up to the layers,
  ///   has an empty stage, or another number of stages than there are workers.
  package init(
    split: [Int],
    layerCount: Int,
    workerCount: Int
  ) throws(CoordinatorError) {
    let text = split.map(String.init).joined(separator: ",")
    guard split.count == workerCount else {
      throw CoordinatorError(
        .placement,
        "split \(text) has \(split.count) stages for \(workerCount) devices; give one number a device"
      )
    }
    guard split.allSatisfy({ $0 > 0 }) else {
      throw CoordinatorError(
        .placement,
        "split \(text) has a stage without layers; every stage needs at least one"
      )
    }
    var sum = 0
    for part in split {
      let (next, overflow) = sum.addingReportingOverflow(part)
      guard !overflow else {
        throw CoordinatorError(.placement, "split \(text) is out of range")
      }
      sum = next
    }
    guard sum == layerCount else {
      throw CoordinatorError(
        .placement,
        "split \(text) adds up to \(sum) layers, the model has \(layerCount)"
      )
    }
    var first = 0
    stages = split.map { count in
      defer { first += count }
      return first..<(first + count)
    }
  }

  /// Cuts the layers so that the slowest stage is as fast as can be.
  ///
  /// A stage costs what its layers read, and the last one what the logits read besides, divided by
  /// its rate (bytes a second, or anything in proportion, such as threads): decoding is bound by
  /// memory. Exact, by dynamic programming over the stages.
  ///
  /// - Parameters:
  ///   - cost: What each layer and the logits read.
  ///   - rates: How fast each stage is.
  ///   - fits: Whether a stage can hold these layers.
  /// - Throws: `CoordinatorError` with code `placement` if there are more workers than layers, or no
  ///   cut fits them all.
  package init(
    cost: DecodeCost,
    rates: [Double],
    fits: (_ stage: Int, _ layers: Range<Int>) -> Bool = { _, _ in true }
  ) throws(CoordinatorError) {
    let layerCount = cost.layers.count
    guard rates.count <= layerCount, !rates.isEmpty else {
      throw CoordinatorError(
        .placement,
        "\(rates.count) devices for \(layerCount) layers; each needs at least one layer"
      )
    }
    // best[end]: the first stages hold layers 0..<end.
    var best: [Cut?] = Array(repeating: nil, count: layerCount + 1)
    best[0] = Cut(slowest: 0, squares: 0, ends: [])
    for (stage, rate) in rates.enumerated() {
      var next: [Cut?] = Array(repeating: nil, count: layerCount + 1)
      for first in 0..<layerCount {
        guard let before = best[first] else { continue }
        // The last stage ends with the last layer, and no other one does.
        let ends = stage == rates.count - 1 ? layerCount...layerCount : (first + 1)...layerCount
        for end in ends where fits(stage, first..<end) {
          let cut = before.adding(cost.bytes(of: first..<end) / rate, end: end)
          if next[end].map({ cut < $0 }) ?? true { next[end] = cut }
        }
      }
      best = next
    }
    guard let ends = best[layerCount]?.ends else {
      throw CoordinatorError(.placement, "no cut of \(layerCount) layers fits all workers")
    }
    let split = zip(ends, [0] + ends).map { $0 - $1 }
    try self.init(split: split, layerCount: layerCount, workerCount: rates.count)
  }

  /// The first stages of a placement being searched.
  private struct Cut: Comparable {
    /// The costliest stage.
    var slowest: Double
    /// Among equals, the more even one wins.
    var squares: Double
    var ends: [Int]

    func adding(_ cost: Double, end: Int) -> Cut {
      Cut(slowest: max(slowest, cost), squares: squares + cost * cost, ends: ends + [end])
    }

    static func < (left: Cut, right: Cut) -> Bool {
      (left.slowest, left.squares) < (right.slowest, right.squares)
    }
  }
}
