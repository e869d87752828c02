// What many rows' divergences say together: the numbers of `trestle compare`.

internal import Glibc

/// A row whose distribution has changed, and where it is.
package struct DivergentRow: Sendable, Hashable {
  /// The index of the row's token in the text.
  package var position: Int
  package var klDivergence: Double

  package init(position: Int, klDivergence: Double) {
    self.position = position
    self.klDivergence = klDivergence
  }
}

/// The divergences of many rows.
package struct DivergenceSummary: Sendable {
  private var divergences: [Double] = []
  private var sameTopCount = 0
  private var logProbabilities = (reference: 0.0, other: 0.0)
  private var scoredCount = 0
  /// The rows with the largest divergences, the largest first.
  package private(set) var worst: [DivergentRow] = []
  private let worstCount: Int

  /// - Parameter worstCount: How many of the worst rows are kept.
  package init(keepingWorst worstCount: Int = 0) { self.worstCount = worstCount }

  package var rowCount: Int { divergences.count }

  /// Adds a row.
  ///
  /// - Parameters:
  ///   - divergence: What became of its distribution.
  ///   - position: The index of its token in the text.
  ///   - next: The logits of the token that follows in the text, of the reference and of the other model; nil
  ///     where none follows.
  package mutating func add(
    _ divergence: LogitDivergence,
    position: Int,
    next: (reference: Float, other: Float)? = nil
  ) {
    divergences.append(divergence.klDivergence)
    if divergence.sameTop { sameTopCount += 1 }
    if let next {
      logProbabilities.reference += Double(next.reference) - divergence.logSums.reference
      logProbabilities.other += Double(next.other) - divergence.logSums.other
      scoredCount += 1
    }
    guard worstCount > 0 else { return }
    let row = DivergentRow(position: position, klDivergence: divergence.klDivergence)
    let place = worst.firstIndex { $0.klDivergence < row.klDivergence } ?? worst.count
    guard place < worstCount else { return }
    worst.insert(row, at: place)
    if worst.count > worstCount { worst.removeLast() }
  }

  /// The mean divergence in nats; 0 without rows.
  package var mean: Double {
    divergences.isEmpty ? 0 : divergences.reduce(0, +) / Double(divergences.count)
  }

  /// The standard error of the mean, as if rows were independent.
  package var standardError: Double {
    guard divergences.count > 1 else { return 0 }
    let mean = mean
    let squares = divergences.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    let count = Double(divergences.count)
    return (squares / (count - 1) / count).squareRoot()
  }

  package var highest: Double { divergences.max() ?? 0 }

  /// Returns the divergence that a share of the rows do not exceed, such as 0.99; 0 without rows.
  package func quantile(_ share: Double) -> Double {
    guard !divergences.isEmpty else { return 0 }
    let sorted = divergences.sorted()
    // A share such as 0.07 is no exact float, and must not ask for one row more.
    let index = Int((Double(sorted.count) * share - 1e-9).rounded(.up)) - 1
    return sorted[min(max(index, 0), sorted.count - 1)]
  }

  /// The share of rows whose likeliest token is the same; 1 without rows.
  package var topAgreement: Double {
    divergences.isEmpty ? 1 : Double(sameTopCount) / Double(divergences.count)
  }

  /// The perplexities of the text's tokens; nil if none was scored.
  package var perplexities: (reference: Double, other: Double)? {
    guard scoredCount > 0 else { return nil }
    let count = Double(scoredCount)
    return (
      Glibc.exp(-logProbabilities.reference / count), Glibc.exp(-logProbabilities.other / count)
    )
  }
}
