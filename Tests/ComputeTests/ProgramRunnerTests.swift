// A runner's slots against dictionaries of positions: what is said to be held is what was written.

import Compute
import TestSupport
import Testing

@Suite struct `Program runner` {
  private static let windows = [Int?.none, 4, 2]
  private static let limits = ExecutableLimits(maxRows: 3, slots: 3, contextTokens: 24)

  /// Of each cache and slot: the token at each position.
  private typealias Story = [[[Int: Int32]]]

  private func runner(sharing previous: ProgramRunner? = nil) -> ProgramRunner {
    ProgramRunner(
      RingExecutable(Self.windows, Self.limits, sharing: previous?.executable),
      sharing: previous
    )
  }

  private func batch(_ slot: Int, _ positions: Range<Int>, token: Int32 = 1) -> Batch {
    Batch(rows: positions.map { Row(slot: slot, position: $0, token: token, isWanted: true) })
  }

  @Test(.seeded(default: 41)) func `every position that is held has the row last written there`()
    throws
  {
    var random = SeededRandom(testSeed(default: 41))
    var checked = 0
    for _ in 0..<fuzzIterations(default: 40) {
      var runner = runner()
      var story = Story(
        repeating: Array(repeating: [:], count: Self.limits.slots),
        count: Self.windows.count
      )
      for _ in 0..<60 {
        try step(&runner, &story, &random)
        for cache in story.indices {
          for slot in 0..<Self.limits.slots {
            let held = runner.heldPositions(cache: cache, slot: slot)
            let rows = try runner.exportRows(cache: cache, slot: slot, positions: held)
            let want = held.map { Float(story[cache][slot][$0] ?? 0) }
            #expect(rows.keys == want, "cache \(cache), slot \(slot), \(held)")
            #expect(rows.values.map { -$0 } == want)
            checked += held.count
          }
        }
      }
    }
    #expect(checked > 1000, "only \(checked) rows were looked at")
  }

  private func step(
    _ runner: inout ProgramRunner,
    _ story: inout Story,
    _ random: inout SeededRandom
  ) throws {
    let slot = Int.random(in: 0..<Self.limits.slots, using: &random)
    let cache = Int.random(in: story.indices, using: &random)
    let count = runner.positionCount(slot: slot)
    switch Int.random(in: 0..<9, using: &random) {
    case 0...3:
      let token = Int32.random(in: 1...99, using: &random)
      let end = min(count + Int.random(in: 1...3, using: &random), Self.limits.contextTokens)
      guard count < end,
        (try? runner.run(batch(slot, count..<end, token: token), inputs: [])) != nil
      else { return }
      for index in story.indices {
        story[index][slot] = story[index][slot].filter { $0.key < count }
        for position in count..<end { story[index][slot][position] = token }
      }
    case 4:
      let first = Int.random(in: 0...18, using: &random)
      let positions = first..<(first + Int.random(in: 0...6, using: &random))
      let tokens = positions.map { _ in Float(Int.random(in: 100...199, using: &random)) }
      let rows = CacheRows(
        layer: cache,
        positions: positions,
        keys: tokens,
        values: tokens.map { -$0 }
      )
      let replacing = Bool.random(using: &random)
      try runner.importRows(rows, cache: cache, slot: slot, replacing: replacing)
      let held = runner.heldPositions(cache: cache, slot: slot)
      for (position, token) in zip(positions, tokens) where held.contains(position) {
        story[cache][slot][position] = Int32(token)
      }
      if replacing { #expect(held.isEmpty || held.clamped(to: positions) == held) }
    case 5:
      let target = Int.random(in: 0...count, using: &random)
      guard (try? runner.resume(slot: slot, at: target)) != nil else { return }
      for index in story.indices {
        story[index][slot] = story[index][slot].filter { $0.key < target }
      }
    case 6:
      let target = (slot + 1) % Self.limits.slots
      let prefix = Int.random(in: 0...count, using: &random)
      try runner.copy(slot: slot, to: target, count: prefix)
      for index in story.indices {
        story[index][target] = story[index][slot].filter { $0.key < prefix }
      }
    case 7:
      runner.clear(slot: slot)
      for index in story.indices { story[index][slot] = [:] }
    default:
      let counts = (0..<Self.limits.slots).map { runner.positionCount(slot: $0) }
      let next = self.runner(sharing: runner)
      for (slot, count) in counts.enumerated() {
        #expect(next.positionCount(slot: slot) == 0)
        try? next.resume(slot: slot, at: count)
      }
      runner = next
    }
  }

  @Test func `caches are shared by their storage, and by nothing else`() throws {
    let old = runner()
    _ = try old.run(batch(1, 0..<3), inputs: [])
    let next = runner(sharing: old)
    let stranger = ProgramRunner(RingExecutable(Self.windows, Self.limits), sharing: old)
    for cache in Self.windows.indices {
      #expect(next.heldPositions(cache: cache, slot: 1) == 0..<3)
      #expect(stranger.heldPositions(cache: cache, slot: 1).isEmpty)
    }
    #expect(next.kvByteCount == 3 * 3 * 8 && stranger.kvByteCount == 0)
  }

  @Test func `memory is given back once, and only where rows were`() throws {
    let runner = runner()
    let storage = try #require(runner.executable.storages[0] as? RingStorage)
    runner.clear(slot: 1)
    #expect(storage.discardCount == 0)
    _ = try runner.run(batch(1, 0..<3), inputs: [])
    runner.clear(slot: 1)
    runner.clear(slot: 1)
    #expect(storage.discardCount == 1 && runner.kvByteCount == 0)
  }

  @Test func `a device that fails in a step leaves the slots of the step empty`() throws {
    let executable = RingExecutable(Self.windows, Self.limits)
    let runner = ProgramRunner(executable)
    for slot in [0, 1] { _ = try runner.run(batch(slot, 0..<3), inputs: []) }
    executable.failure = ComputeError(.device, "lost")
    #expect(throws: ComputeError.self) { try runner.run(batch(1, 3..<5), inputs: []) }
    #expect((0...1).map { runner.positionCount(slot: $0) } == [3, 0])
    #expect(runner.heldPositions(cache: 0, slot: 1).isEmpty)
    // A refusal has run nothing.
    executable.failure = ComputeError(.batch, "none of mine")
    #expect(throws: ComputeError.self) { try runner.run(batch(0, 3..<5), inputs: []) }
    #expect(runner.positionCount(slot: 0) == 3)
    #expect(runner.heldPositions(cache: 0, slot: 0) == 0..<3)
  }

  @Test func `rows that the device did not take are not held`() throws {
    let runner = runner()
    _ = try runner.run(batch(0, 0..<3), inputs: [])
    let rows = try runner.exportRows(cache: 1, slot: 0, positions: 0..<3)
    let storage = try #require(runner.executable.storages[1] as? RingStorage)
    storage.failure = ComputeError(.device, "lost")
    #expect(throws: ComputeError.self) { try runner.importRows(rows, cache: 1, slot: 2) }
    #expect(runner.heldPositions(cache: 1, slot: 2).isEmpty)
    #expect(throws: ComputeError.self) { try runner.copy(slot: 0, to: 2, count: 3) }
    #expect(runner.heldPositions(cache: 1, slot: 2).isEmpty)
    #expect(throws: ComputeError.self) { try runner.resume(slot: 2, at: 3) }
  }

  @Test func `of more rows than a ring has room for the last stay`() throws {
    let runner = runner()
    let tokens = (0..<9).map { Float($0) }
    let rows = CacheRows(layer: 1, positions: 3..<12, keys: tokens, values: tokens.map { -$0 })
    try runner.importRows(rows, cache: 1, slot: 0)
    #expect(runner.heldPositions(cache: 1, slot: 0) == 6..<12)
    #expect(try runner.exportRows(cache: 1, slot: 0, positions: 6..<12).keys == [3, 4, 5, 6, 7, 8])
  }
}
