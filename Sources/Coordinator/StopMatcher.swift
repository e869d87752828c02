// Finds stop strings in text that arrives piece by piece, and holds back what may be the beginning
// of one.

/// Watches a stream of text for stop strings.
package struct StopMatcher: Sendable {
  private let stops: [[UInt8]]
  /// Text not yet released, because it may be the beginning of a stop string.
  private var held: [UInt8] = []
  /// The stop string that has come; nil before one has.
  package private(set) var matched: String?

  /// Whether a stop string has come: nothing more is shown.
  package var hasMatched: Bool { matched != nil }

  package init(stops: [String]) {
    self.stops = stops.filter { !$0.isEmpty }.map { Array($0.utf8) }
  }

  /// Accepts more text and returns what may be shown now.
  ///
  /// Once a stop string has matched, only the text before it is returned. The stop string that is
  /// complete first wins, so it does not matter how the text was cut into pieces.
  package mutating func feed(_ text: String) -> String {
    guard !hasMatched else { return "" }
    guard !stops.isEmpty else { return text }
    held += Array(text.utf8)
    let matches = stops.compactMap { firstRange(of: $0) }
    if let first = matches.min(by: {
      ($0.upperBound, $0.lowerBound) < ($1.upperBound, $1.lowerBound)
    }) {
      matched = String(decoding: held[first], as: UTF8.self)
      return release(first.lowerBound)
    }
    return release(held.count - longestBeginning())
  }

  /// Returns what is still held when the stream ends without a match.
  package mutating func flush() -> String {
    hasMatched ? "" : release(held.count)
  }

  private mutating func release(_ count: Int) -> String {
    defer { held.removeFirst(count) }
    return String(decoding: held[..<count], as: UTF8.self)
  }

  private func firstRange(of stop: [UInt8]) -> Range<Int>? {
    guard held.count >= stop.count else { return nil }
    let start = (0...(held.count - stop.count)).first {
      held[$0..<($0 + stop.count)].elementsEqual(stop)
    }
    return start.map { $0..<($0 + stop.count) }
  }

  /// Returns the length of the longest suffix of `held` that begins a stop string.
  ///
  /// A stop string consists of whole characters, so a cut before its first byte never splits one.
  private func longestBeginning() -> Int {
    let most = min(held.count, (stops.map(\.count).max() ?? 1) - 1)
    guard most > 0 else { return 0 }
    let lengths = (1...most).reversed()
    return lengths.first { length in
      stops.contains { $0.count > length && held.suffix(length).elementsEqual($0[..<length]) }
    } ?? 0
  }
}
