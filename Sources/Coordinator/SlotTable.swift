// Which slot of the KV caches holds what: live sessions, prefixes of sessions that are over, nothing.

internal import Compute
internal import Gemma
internal import Wire

/// What the rings of sliding windows still hold of a slot, which decides whether a prefix can be used.
struct PrefixRule: Sendable {
  /// Of the layers with keys and values; one of each kind.
  let rings: Set<CacheRing>

  init(rings: Set<CacheRing>) { self.rings = rings }

  init(_ config: ModelConfig, _ limits: CoordinatorLimits) {
    let owners = config.layers.enumerated().filter { $0.offset == $0.element.kvSource }
    rings = Set(
      owners.map { CacheRing(window: $0.element.attention.window, limits: limits.executable) }
    )
  }

  /// Whether a slot whose rings have come to `reached` positions can go on behind the first `prefix`.
  func allows(_ prefix: Int, reached: Int) -> Bool {
    rings.allSatisfy { $0.canResume(at: prefix, reached: reached) }
  }
}

/// The slots that no session holds.
struct SlotTable: Sendable {
  /// A slot with the keys and values of a session that is over.
  private struct Warm: Sendable {
    var slot: Int
    /// Of its positions.
    var tokens: [Int32]
    /// Whose they are: see `PrefixSharing.group`.
    var group: PublicKey?
    /// See `Session.reached`.
    var reached: Int
    var since: ContinuousClock.Instant
  }

  /// A slot given to a session.
  struct Taken: Sendable {
    var slot: Int
    /// How many of its first tokens are there already.
    var prefix: Int
    /// See `Session.reached`.
    var reached = 0
    /// How they get there; nil if there are none.
    var fork: Fork?
    /// What it held is of no use and must be forgotten first.
    var mustClear: Bool
  }

  /// How long keys and values of a finished session are kept for the next request of a conversation.
  static let keptFor = Duration.seconds(600)

  private let rule: PrefixRule
  /// Empty ones, the next to be given away last.
  private var empty: [Int]
  /// Longest unused first.
  private var warm: [Warm] = []

  init(count: Int, rule: PrefixRule) {
    self.rule = rule
    empty = Array((0..<count).reversed())
  }

  /// Slots that a session can have.
  var free: [Int] { empty + warm.map(\.slot) }

  /// Whether no session can have a slot.
  var isFull: Bool { empty.isEmpty && warm.isEmpty }

  /// Takes a slot for a session, the one that spares most of its prompt.
  ///
  /// - Parameters:
  ///   - tokens: The prompt.
  ///   - group: Whose warm slots it may take over; see `PrefixSharing.group`.
  ///   - most: How many positions may be taken over at most.
  ///   - live: Slots of the group's sessions that go on, with the tokens of their positions and `Session.reached`.
  ///   - reserved: Slots that must stay as they are.
  /// - Returns: The slot; nil if none is free.
  mutating func take(
    for tokens: [Int32],
    of group: PublicKey? = nil,
    most: Int,
    live: [(slot: Int, tokens: ArraySlice<Int32>, reached: Int)],
    reserved: Set<Int>
  ) -> Taken? {
    let usable = warm.indices.filter { !reserved.contains(warm[$0].slot) }
    let best = usable.filter { warm[$0].group == group }.map { index in
      (
        index: index,
        prefix: reusable(warm[index].tokens[...], warm[index].reached, tokens, most)
      )
    }.max { $0.prefix < $1.prefix }
    let source = live.map {
      (slot: $0.slot, reached: $0.reached, prefix: reusable($0.tokens, $0.reached, tokens, most))
    }.max { $0.prefix < $1.prefix }
    if let best, best.prefix > 0, best.prefix >= source?.prefix ?? 0 {
      let own = warm.remove(at: best.index)
      let fork = Fork(source: own.slot, target: own.slot, positionCount: best.prefix)
      return Taken(
        slot: own.slot,
        prefix: best.prefix,
        reached: own.reached,
        fork: fork,
        mustClear: false
      )
    }
    let slot: Int
    let wasEmpty = !empty.isEmpty
    if let last = empty.popLast() {
      slot = last
    } else {
      guard let oldest = usable.first else { return nil }
      slot = warm.remove(at: oldest).slot
    }
    guard let source, source.prefix > 0 else {
      return Taken(slot: slot, prefix: 0, fork: nil, mustClear: !wasEmpty)
    }
    return Taken(
      slot: slot,
      prefix: source.prefix,
      reached: source.reached,
      fork: Fork(source: source.slot, target: slot, positionCount: source.prefix),
      mustClear: !wasEmpty
    )
  }

  private func reusable(
    _ held: ArraySlice<Int32>,
    _ reached: Int,
    _ tokens: [Int32],
    _ most: Int
  ) -> Int {
    let common = min(most, zip(held, tokens).prefix { $0 == $1 }.count)
    return rule.allows(common, reached: reached) ? common : 0
  }

  /// Takes back the slot of a session that is over, with what it holds.
  mutating func giveBack(
    _ slot: Int,
    holding tokens: [Int32],
    of group: PublicKey? = nil,
    reached: Int,
    at now: ContinuousClock.Instant
  ) {
    if tokens.isEmpty {
      empty.append(slot)
    } else {
      warm.append(
        Warm(slot: slot, tokens: tokens, group: group, reached: reached, since: now)
      )
    }
  }

  /// Forgets what warm slots hold, all or those unused for long.
  ///
  /// - Returns: The slots that were warm.
  mutating func forget(unusedSince limit: ContinuousClock.Instant? = nil) -> [Int] {
    let old = warm.filter { warm in limit.map { warm.since < $0 } ?? true }.map(\.slot)
    warm.removeAll { old.contains($0.slot) }
    empty += old
    return old
  }
}
