// How a request that workers die of is told from one that only was under way: it is run alone, and dies at
// the same place again.

/// Workers that were lost while they ran a session: how it is told from one that only was there.
package struct LossRecord: Sendable, Hashable {
  /// Where a worker was lost that ran this session and no other.
  package struct Place: Sendable, Hashable {
    package var worker: String
    /// The first position of the session that was under way.
    package var position: Int
  }

  /// After so many losses a session is run alone, so that no other is suspected with it.
  private static let suspicious = 2
  /// After so many losses, the last ones alone at the same place, it is taken to be the cause.
  ///
  /// Before that a worker would be given up that is started again and again: after five.
  private static let mostLosses = 3
  private static let mostLossesAlone = 2

  private var count = 0
  private var place: Place?
  private var countAtPlace = 0

  package init() {}

  /// Whether it must be run alone.
  package var isSuspect: Bool { count >= Self.suspicious }

  /// Whether it is the cause, as far as can be known.
  package var isCause: Bool { count >= Self.mostLosses && countAtPlace >= Self.mostLossesAlone }

  /// Takes note of a loss; `place` is nil if other sessions were under way too.
  package mutating func add(at place: Place?) {
    count += 1
    countAtPlace = place == nil ? 0 : place == self.place ? countAtPlace + 1 : 1
    self.place = place
  }

  /// What has happened, in a clause.
  package var summary: String {
    let suffix = place.map { ", \(countAtPlace) of them at position \($0.position)" } ?? ""
    return "\(count) workers in a row were lost while they ran this request\(suffix)"
  }
}
