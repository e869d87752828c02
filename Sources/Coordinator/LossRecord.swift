// Tells a request that crashes workers from one that was only in flight when a worker died: a
// suspect is run alone, and a culprit crashes its worker at the same place again.

/// The workers that were lost while they ran a session.
package struct LossRecord: Sendable, Hashable {
  /// A place where a worker was lost while it ran this session and no other.
  package struct Place: Sendable, Hashable {
    package var worker: String
    /// The first position of the session that was in flight.
    package var position: Int
  }

  /// After this many losses a session is run alone, so that no other session is suspected with it.
  private static let suspicious = 2
  /// After this many losses, the last ones alone and at the same place, the session is taken for
  /// the cause.
  ///
  /// The limit is lower than the five deaths after which the supervisor gives up a worker.
  private static let mostLosses = 3
  private static let mostLossesAlone = 2

  private var count = 0
  private var place: Place?
  private var countAtPlace = 0

  package init() {}

  /// Whether the session must be run alone.
  package var isSuspect: Bool { count >= Self.suspicious }

  /// Whether the session is taken for the cause.
  package var isCause: Bool { count >= Self.mostLosses && countAtPlace >= Self.mostLossesAlone }

  /// Notes a loss; `place` is nil if other sessions were in flight too.
  package mutating func add(at place: Place?) {
    count += 1
    countAtPlace = place == nil ? 0 : place == self.place ? countAtPlace + 1 : 1
    self.place = place
  }

  /// Describes the losses in a clause, for an error message.
  package var summary: String {
    let suffix = place.map { ", \(countAtPlace) of them at position \($0.position)" } ?? ""
    return "\(count) workers in a row were lost while they ran this request\(suffix)"
  }
}
