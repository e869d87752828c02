// The search for the cut of a model with the fastest slowest stage: exact, by dynamic programming over the
// stages and the places where the line of pieces may be cut.

internal import Gemma

/// The first stages of a placement during the search.
struct Cut {
  /// The cost of the costliest stage.
  var slowest: Double
  /// The sum of squared costs: among cuts with an equal slowest stage, the more even one wins.
  var squares: Double
  var ends: [Int]
  /// By shared memory: what the stages hold of it.
  var use: [HeldMemory]

  func adding(_ cost: Double, end: Int) -> Cut {
    Cut(
      slowest: max(slowest, cost),
      squares: squares + cost * cost,
      ends: ends + [end],
      use: use
    )
  }

  func isFaster(than other: Cut) -> Bool {
    (slowest, squares) < (other.slowest, other.squares)
  }

  /// Whether it is as fast as another one and holds no more of any memory.
  func beats(_ other: Cut) -> Bool {
    !other.isFaster(than: self) && zip(use, other.use).allSatisfy { $0.isWithin($1) }
  }
}

/// What is searched for.
struct CutSearch {
  let cost: DecodeCost
  /// By stage.
  let rates: [Double]
  /// Whether a stage can hold a slice, whatever the others hold.
  let fits: (_ stage: Int, _ slice: ModelSlice) -> Bool
  let sharing: SharedMemory?

  /// Returns the best cut of the whole model at some of the places between its pieces; nil if none fits.
  ///
  /// Shared memory makes the search wider, so it is looked at only if the best cut without it does not fit.
  func best(at places: [Int]) -> Cut? {
    guard let free = search(places, sharing: nil) else { return nil }
    let stages = zip([0] + free.ends, free.ends).map { cost.line.slice(pieces: $0..<$1) }
    guard let sharing, !sharing.holds(stages) else { return free }
    return search(places, sharing: sharing)
  }

  private func search(_ places: [Int], sharing: SharedMemory?) -> Cut? {
    let line = cost.line
    let none = Array(repeating: HeldMemory(), count: sharing?.byteCounts.count ?? 0)
    // fronts[place]: cuts of the pieces before that place into the first stages, none of which another
    // one beats. Without shared memory that is one cut.
    var fronts: [[Cut]] = Array(repeating: [], count: places.count)
    fronts[0] = [Cut(slowest: 0, squares: 0, ends: [], use: none)]
    for (stage, rate) in rates.enumerated() {
      var next: [[Cut]] = Array(repeating: [], count: places.count)
      for first in places.indices.dropLast() where !fronts[first].isEmpty {
        var bytes = 0.0
        for end in places.indices[(first + 1)...] {
          bytes += cost.bytes(of: line.slice(pieces: places[end - 1]..<places[end]))
          let slice = line.slice(pieces: places[first]..<places[end])
          // The last stage ends with the line, and no other stage does.
          guard (stage == rates.count - 1) == (end == places.count - 1), fits(stage, slice)
          else { continue }
          for before in fronts[first] {
            var cut = before.adding(bytes / rate, end: places[end])
            if let sharing, let pool = sharing.pools[stage] {
              cut.use[pool] = cut.use[pool].joined(with: sharing.held(stage, slice))
              guard sharing.fits(cut.use[pool], in: pool) else { continue }
            }
            Self.insert(cut, into: &next[end])
          }
        }
      }
      fronts = next
    }
    return fronts[places.count - 1].min { $0.isFaster(than: $1) }
  }

  private static func insert(_ cut: Cut, into front: inout [Cut]) {
    guard !front.contains(where: { $0.beats(cut) }) else { return }
    front.removeAll { cut.beats($0) }
    front.append(cut)
  }
}
