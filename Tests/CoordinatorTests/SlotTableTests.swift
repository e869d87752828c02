// Which slot a session gets, and how much of its prompt is there already.

import Compute
import TestSupport
import Testing
import Wire

@testable import Coordinator

@Suite struct `Slots and prefixes` {
  private static let anything = PrefixRule(rings: [])
  private let start = ContinuousClock.now

  private func take(
    _ table: inout SlotTable,
    _ tokens: [Int32],
    live: [(slot: Int, tokens: ArraySlice<Int32>, reached: Int)] = [],
    reserved: Set<Int> = []
  ) -> SlotTable.Taken? {
    table.take(for: tokens, most: tokens.count - 1, live: live, reserved: reserved)
  }

  private func giveBack(
    _ table: inout SlotTable,
    _ slot: Int,
    _ tokens: [Int32],
    reached: Int? = nil,
    after seconds: Int = 0
  ) {
    table.giveBack(
      slot,
      holding: tokens,
      reached: reached ?? tokens.count,
      at: start + .seconds(seconds)
    )
  }

  @Test func `a conversation goes on where its last turn ended`() throws {
    var table = SlotTable(count: 2, rule: Self.anything)
    let first = try #require(take(&table, [1, 2, 3]))
    #expect(first.prefix == 0 && first.fork == nil && !first.mustClear)
    giveBack(&table, first.slot, [1, 2, 3, 4])
    let second = try #require(take(&table, [1, 2, 3, 4, 5, 6]))
    #expect(second.slot == first.slot && second.prefix == 4 && !second.mustClear)
    #expect(second.fork == Fork(source: first.slot, target: first.slot, positionCount: 4))
    // The last token is wanted, so it is not taken over even if its keys and values are there.
    giveBack(&table, second.slot, [1, 2, 3, 4, 5, 6])
    let third = try #require(take(&table, [1, 2, 3]))
    #expect(third.prefix == 2)
  }

  @Test func `what a running session has is copied, the longer of the two wins`() throws {
    var table = SlotTable(count: 3, rule: Self.anything)
    let running = try #require(take(&table, [7, 8, 9]))
    let over = try #require(take(&table, [7, 8]))
    giveBack(&table, over.slot, [7, 8])
    let live = [(slot: running.slot, tokens: [7, 8, 9][...] as ArraySlice<Int32>, reached: 3)]
    let copied = try #require(take(&table, [7, 8, 9, 1], live: live))
    #expect(copied.prefix == 3 && copied.slot != running.slot && copied.slot != over.slot)
    #expect(copied.fork == Fork(source: running.slot, target: copied.slot, positionCount: 3))
    // As much in a slot that can simply be gone on with is better than a copy.
    let own = try #require(take(&table, [7, 8, 1], live: live))
    #expect(own.slot == over.slot && own.prefix == 2)
    #expect(take(&table, [1]) == nil)
  }

  @Test func `empty slots go first, then the one unused for longest, but none that is reserved`()
    throws
  {
    var table = SlotTable(count: 3, rule: Self.anything)
    let slots = try (0..<3).map { _ in try #require(take(&table, [5])).slot }
    for (age, slot) in slots.enumerated() {
      giveBack(&table, slot, [Int32(10 + age)], after: age)
    }
    let first = try #require(take(&table, [1, 2], reserved: [slots[0]]))
    #expect(first.slot == slots[1] && first.mustClear && first.prefix == 0)
    // A reserved slot is not gone on with either: another one copies from it just now.
    let second = try #require(take(&table, [10, 2], reserved: [slots[0]]))
    #expect(second.slot == slots[2] && second.prefix == 0)
    #expect(take(&table, [1, 2], reserved: [slots[0]]) == nil)
    let third = try #require(take(&table, [10, 2]))
    #expect(third.slot == slots[0] && third.prefix == 1 && !third.mustClear)
    giveBack(&table, slots[1], [])
    let fourth = try #require(take(&table, [1, 2]))
    #expect(fourth.slot == slots[1] && !fourth.mustClear)
  }

  @Test func `what nobody has come back to is forgotten after a while`() throws {
    var table = SlotTable(count: 2, rule: Self.anything)
    for age in 0..<2 {
      let slot = try #require(take(&table, [Int32(age)])).slot
      giveBack(&table, slot, [Int32(age), 9], after: age)
    }
    #expect(table.forget(unusedSince: start).isEmpty)
    #expect(table.forget(unusedSince: start + .seconds(1)) == [0])
    #expect(try #require(take(&table, [1, 9, 9])).prefix == 2)
    giveBack(&table, 1, [1, 9, 9])
    #expect(table.forget() == [1])
    #expect(table.free.sorted() == [0, 1])
  }

  @Test(.seeded(default: 17)) func `a prefix is allowed just when every ring holds its window`() {
    var random = SeededRandom(testSeed(default: 17))
    var (allowed, refused) = (0, 0)
    for _ in 0..<fuzzIterations(default: 3000) {
      let window = Int.random(in: 1...9, using: &random)
      let capacity = window + Int.random(in: 0...8, using: &random)
      let limits = ExecutableLimits(
        maxRows: capacity - window + 1,
        slots: 1,
        contextTokens: .max
      )
      let rule = PrefixRule(rings: [CacheRing(window: window, limits: limits)])
      var ring = HeldPositions(capacity: capacity)
      var (count, reached) = (0, 0)
      // A session that goes on in chunks and back to prefixes, as turns of a conversation do.
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let chunk = Int.random(in: 1...(capacity - window + 1), using: &random)
        ring.append(count..<(count + chunk))
        count += chunk
        reached = max(reached, count)
        let prefix = Int.random(in: 0...count, using: &random)
        let seen = max(0, prefix - window + 1)..<prefix
        var back = ring
        back.keep(upTo: prefix)
        let isAllowed = rule.allows(prefix, reached: reached)
        if isAllowed {
          #expect(back.contains(seen), "window \(window), \(capacity): \(seen) of \(ring.range)")
          allowed += 1
          if Bool.random(using: &random) { (ring, count) = (back, prefix) }
        } else if !seen.isEmpty {
          refused += 1
          #expect(!back.contains(seen), "window \(window), \(capacity): \(seen) of \(ring.range)")
        }
      }
    }
    #expect(allowed > 100 && refused > 100)
  }

  @Test(.seeded(default: 18)) func `no slot is given away twice or lost`() {
    var random = SeededRandom(testSeed(default: 18))
    for _ in 0..<fuzzIterations(default: 200) {
      let count = Int.random(in: 1...5, using: &random)
      var table = SlotTable(count: count, rule: Self.anything)
      var held: [Int: [Int32]] = [:]
      for second in 0..<60 {
        let tokens = (0..<Int.random(in: 1...4, using: &random)).map { _ in
          Int32.random(in: 0...1, using: &random)
        }
        if Bool.random(using: &random) {
          let live = held.map { (slot: $0.key, tokens: $0.value[...], reached: $0.value.count) }
          guard let taken = take(&table, tokens, live: live) else {
            #expect(held.count == count)
            continue
          }
          #expect(held[taken.slot] == nil)
          #expect(taken.prefix < tokens.count)
          if let fork = taken.fork {
            #expect(fork.target == taken.slot && fork.positionCount == taken.prefix)
            if fork.source != taken.slot {
              #expect(held[fork.source]?.starts(with: tokens.prefix(taken.prefix)) == true)
            }
          } else {
            #expect(taken.prefix == 0)
          }
          held[taken.slot] = tokens
        } else if let (slot, tokens) = held.randomElement(using: &random) {
          held[slot] = nil
          giveBack(&table, slot, Bool.random(using: &random) ? tokens : [], after: second)
        }
        #expect(Set(table.free).isDisjoint(with: held.keys))
        #expect(table.free.count + held.count == count)
      }
    }
  }
}
