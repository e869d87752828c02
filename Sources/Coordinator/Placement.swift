// Which worker holds which layers.

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

  /// Cuts the layers evenly in proportion to each worker's threads, every stage at least one.
  ///
  /// - Throws: `CoordinatorError` with code `placement` if there are more workers than layers.
  package init(threads: [Int], layerCount: Int) throws(CoordinatorError) {
    guard threads.count <= layerCount, !threads.isEmpty else {
      throw CoordinatorError(
        .placement,
        "\(threads.count) devices for \(layerCount) layers; each needs at least one layer"
      )
    }
    // Largest remainders: floors first, then one more layer where most is missing.
    let total = threads.reduce(0) { $0 + max(1, $1) }
    let shares = threads.map { Double(layerCount * max(1, $0)) / Double(total) }
    var split = shares.map { max(1, Int($0)) }
    while split.reduce(0, +) != layerCount {
      let missing = split.reduce(0, +) < layerCount
      let candidates = split.indices.filter { missing || split[$0] > 1 }
      let order = { (left: Int, right: Int) in
        shares[left] - Double(split[left]) < shares[right] - Double(split[right])
      }
      guard let index = missing ? candidates.max(by: order) : candidates.min(by: order) else {
        break
      }
      split[index] += missing ? 1 : -1
    }
    try self.init(split: split, layerCount: layerCount, workerCount: threads.count)
  }
}
