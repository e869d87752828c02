// The ledger of slots against a model that lists every position by itself.

import Compute
import TestSupport
import Testing

/// What a cache holds of a slot, position by position.
private struct NaiveCache {
  let capacity: Int
  var positions: Set<Int> = []

  mutating func append(_ new: Range<Int>) {
    positions = positions.filter { $0 < new.lowerBound }
    if positions.max().map({ $0 + 1 }) != new.lowerBound { positions = [] }
    for position in new {
      positions.insert(position)
      positions.remove(position - capacity)
    }
  }

  mutating func put(_ new: Range<Int>) -> [Int] {
    guard let first = new.first, let last = new.last else { return [] }
    let touches =
      positions.contains { new.contains($0) } || positions.contains(first - 1)
      || positions.contains(last + 1)
    if !touches { positions = [] }
    positions.formUnion(new)
    if let newest = positions.max() { positions = positions.filter { $0 > newest - capacity } }
    return new.filter(positions.contains)
  }

  mutating func keep(upTo count: Int) { positions = positions.filter { $0 < count } }
}

/// The slots of an executable with one cache for each window.
private struct NaiveLedger {
  let windows: [Int?]
  let limits: ExecutableLimits
  /// By cache and slot.
  var caches: [[NaiveCache]]
  var counts: [Int]

  init(_ shapes: [Cache], _ limits: ExecutableLimits) {
    windows = shapes.map(\.window)
    self.limits = limits
    caches = shapes.map { shape in
      Array(repeating: NaiveCache(capacity: shape.capacity(limits)), count: limits.slots)
    }
    counts = Array(repeating: 0, count: limits.slots)
  }

  func canResume(_ slot: Int, at count: Int) -> Bool {
    zip(windows, caches).allSatisfy { window, cache in
      let first = window.map { max(0, count - $0 + 1) } ?? 0
      return (first..<count).allSatisfy(cache[slot].positions.contains)
    }
  }
}

@Suite struct `Slot ledger` {
  private static let shapes = [Int?.none, 4, 1].enumerated().map { layer, window in
    Cache(layer: layer, kvHeadCount: 2, headDim: 3, window: window)
  }
  private static let limits = ExecutableLimits(maxRows: 3, slots: 3, contextTokens: 24)

  private func batch(_ slot: Int, _ positions: Range<Int>) -> Batch {
    Batch(rows: positions.map { Row(slot: slot, position: $0, token: 0, isWanted: true) })
  }

  private func rows(_ cache: Int, _ positions: Range<Int>) -> CacheRows {
    let values = [Float](repeating: 0, count: positions.count * Self.shapes[cache].width)
    return CacheRows(layer: cache, positions: positions, keys: values, values: values)
  }

  private func passes(_ check: () throws(ComputeError) -> Void) -> Bool {
    do throws(ComputeError) {
      try check()
      return true
    } catch {
      #expect(error.code == .batch)
      return false
    }
  }

  private func expectSame(_ ledger: SlotLedger, _ naive: NaiveLedger, _ what: String) {
    for slot in 0..<Self.limits.slots {
      #expect(ledger.positionCount(slot: slot) == naive.counts[slot], "\(what), slot \(slot)")
      for cache in Self.shapes.indices {
        let held = ledger.heldPositions(cache: cache, slot: slot)
        let want = naive.caches[cache][slot].positions
        #expect(Set(held) == want, "\(what), slot \(slot), cache \(cache): \(want.sorted())")
      }
    }
  }

  @Test(.seeded(default: 31)) func `positions are counted and held as if each stood in a list`() {
    var random = SeededRandom(testSeed(default: 31))
    var accepted = 0
    var refused = 0
    for _ in 0..<fuzzIterations(default: 60) {
      let ledger = SlotLedger(Self.shapes, limits: Self.limits)
      var naive = NaiveLedger(Self.shapes, Self.limits)
      for _ in 0..<60 {
        let slot = Int.random(in: 0..<Self.limits.slots, using: &random)
        let what = step(ledger, &naive, slot, &random)
        if what.isAccepted { accepted += 1 } else { refused += 1 }
        expectSame(ledger, naive, what.name)
      }
    }
    #expect(accepted > 100 && refused > 100, "\(accepted) accepted, \(refused) refused")
  }

  /// Does one thing to both, if both allow it.
  private func step(
    _ ledger: SlotLedger,
    _ naive: inout NaiveLedger,
    _ slot: Int,
    _ random: inout SeededRandom
  ) -> (name: String, isAccepted: Bool) {
    let count = naive.counts[slot]
    let cache = Int.random(in: Self.shapes.indices, using: &random)
    switch Int.random(in: 0..<8, using: &random) {
    case 0...2:
      return append(ledger, &naive, slot, &random)
    case 3:
      let first = Int.random(in: -1...22, using: &random)
      let positions = first..<(first + Int.random(in: 0...5, using: &random))
      let fits = positions.lowerBound >= 0 && positions.upperBound <= Self.limits.contextTokens
      let isAllowed = passes { () throws(ComputeError) in
        try ledger.validateImport(rows(cache, positions), cache: cache, slot: slot)
      }
      #expect(isAllowed == fits, "import of \(positions)")
      guard isAllowed else { return ("import \(positions)", false) }
      let written = ledger.put(positions, cache: cache, slot: slot)
      #expect(Array(written) == naive.caches[cache][slot].put(positions))
      return ("import \(positions)", true)
    case 4:
      let count = Int.random(in: -1...25, using: &random)
      let isAllowed = passes { () throws(ComputeError) in
        try ledger.validateResume(slot: slot, at: count)
      }
      let fits = (0...Self.limits.contextTokens).contains(count)
      #expect(isAllowed == (fits && naive.canResume(slot, at: count)), "resume at \(count)")
      guard isAllowed else { return ("resume at \(count)", false) }
      ledger.resume(slot: slot, at: count)
      naive.counts[slot] = count
      for index in naive.caches.indices { naive.caches[index][slot].keep(upTo: count) }
      return ("resume at \(count)", true)
    case 5:
      return copy(ledger, &naive, from: slot, &random)
    case 6:
      let isWhole = Bool.random(using: &random)
      if isWhole {
        ledger.restart(slot: slot)
        naive.counts[slot] = 0
      }
      for index in isWhole ? Array(Self.shapes.indices) : [cache] {
        _ = ledger.forget(cache: index, slot: slot)
        naive.caches[index][slot].positions = []
      }
      return (isWhole ? "clear" : "forget", true)
    default:
      let positions = Int.random(in: 0...count, using: &random)..<count
      let isAllowed = passes { () throws(ComputeError) in
        try ledger.validateExport(cache: cache, slot: slot, positions: positions)
      }
      let isHeld = positions.allSatisfy(naive.caches[cache][slot].positions.contains)
      #expect(isAllowed == isHeld, "export of \(positions)")
      return ("export \(positions)", isAllowed)
    }
  }

  private func append(
    _ ledger: SlotLedger,
    _ naive: inout NaiveLedger,
    _ slot: Int,
    _ random: inout SeededRandom
  ) -> (name: String, isAccepted: Bool) {
    // Now and then at a place where the slot is not.
    let isAstray = Int.random(in: 0..<4, using: &random) == 0
    let first = isAstray ? Int.random(in: 0...20, using: &random) : naive.counts[slot]
    let positions = first..<(first + Int.random(in: 1...3, using: &random))
    guard positions.upperBound <= Self.limits.contextTokens else {
      _ = ledger.forget(cache: 0, slot: slot)
      naive.caches[0][slot].positions = []
      return ("the end of the context", true)
    }
    let batch = batch(slot, positions)
    let isAllowed = passes { () throws(ComputeError) in try ledger.validateAppend(batch) }
    let fits = first == naive.counts[slot] && naive.canResume(slot, at: first)
    #expect(isAllowed == fits, "rows \(positions)")
    guard isAllowed else { return ("rows \(positions)", false) }
    ledger.append(batch)
    naive.counts[slot] = positions.upperBound
    for index in naive.caches.indices { naive.caches[index][slot].append(positions) }
    return ("rows \(positions)", true)
  }

  private func copy(
    _ ledger: SlotLedger,
    _ naive: inout NaiveLedger,
    from source: Int,
    _ random: inout SeededRandom
  ) -> (name: String, isAccepted: Bool) {
    let target = Int.random(in: 0..<Self.limits.slots, using: &random)
    let count = Int.random(in: -1...(naive.counts[source] + 1), using: &random)
    let isAllowed = passes { () throws(ComputeError) in
      try ledger.validateCopy(slot: source, to: target, count: count)
    }
    #expect(isAllowed == (source != target && (0...naive.counts[source]).contains(count)))
    guard isAllowed else { return ("copy of \(count)", false) }
    for index in Self.shapes.indices {
      let given = ledger.heldPositions(cache: index, slot: source, upTo: count)
      var want = naive.caches[index][source]
      want.keep(upTo: count)
      #expect(Set(given) == want.positions)
      _ = ledger.forget(cache: index, slot: target)
      #expect(ledger.put(given, cache: index, slot: target) == given)
      naive.caches[index][target] = want
    }
    return ("copy of \(count)", true)
  }

  @Test func `a step of several slots moves each by its own rows`() {
    let ledger = SlotLedger(Self.shapes, limits: Self.limits)
    ledger.append(Batch(rows: batch(2, 0..<2).rows + batch(0, 0..<1).rows))
    #expect((0..<3).map { ledger.positionCount(slot: $0) } == [1, 0, 2])
    #expect((0..<3).map { ledger.heldPositions(cache: 0, slot: $0) } == [0..<1, 0..<0, 0..<2])
  }

  @Test func `memory is to be given back only where rows may lie`() {
    let ledger = SlotLedger(Self.shapes, limits: Self.limits)
    #expect(!ledger.forget(cache: 0, slot: 1))
    ledger.append(batch(1, 0..<2))
    ledger.resume(slot: 1, at: 0)
    #expect(ledger.forget(cache: 0, slot: 1))
    #expect(!ledger.forget(cache: 0, slot: 1))
    _ = ledger.put(4..<6, cache: 0, slot: 1)
    #expect(ledger.forget(cache: 0, slot: 1))
  }

  @Test func `who follows holds what a shared cache holds, and counts its own positions`() {
    let old = SlotLedger(Self.shapes, limits: Self.limits)
    old.append(batch(1, 0..<3))
    let new = SlotLedger(Self.shapes, limits: Self.limits, sharing: [old.caches[0], nil, nil])
    #expect(new.positionCount(slot: 1) == 0)
    #expect(new.heldPositions(cache: 0, slot: 1) == 0..<3)
    #expect(new.heldPositions(cache: 1, slot: 1).isEmpty)
    // The old one goes on.
    old.append(batch(1, 3..<5))
    #expect(old.positionCount(slot: 1) == 5 && new.positionCount(slot: 1) == 0)
    #expect(new.heldPositions(cache: 0, slot: 1) == 0..<5)
    new.resume(slot: 1, at: 2)
    #expect(old.heldPositions(cache: 0, slot: 1) == 0..<2)
  }

  @Test func `refusals name the values at fault`() {
    let ledger = SlotLedger(Self.shapes, limits: Self.limits)
    ledger.append(batch(0, 0..<3))
    let error = #expect(throws: ComputeError.self) { try ledger.validateAppend(batch(0, 5..<6)) }
    #expect(error?.message == "row 0: slot 0 holds 3 positions, but the row is at 5")
    let resume = #expect(throws: ComputeError.self) { try ledger.validateResume(slot: 1, at: 2) }
    #expect(resume?.message == "resume at 2: slot 1 needs positions 0..<2, 0..<0 are held")
    #expect(resume?.context == "layer 0")
    let export = #expect(throws: ComputeError.self) {
      try ledger.validateExport(cache: 1, slot: 0, positions: 2..<4)
    }
    #expect(export?.message == "positions 2..<4 asked for, 0..<3 are held")
    #expect(export?.context == "layer 1, slot 0")
  }
}
