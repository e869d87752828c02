// Layers that move between two workers while sessions run: every logit as if nothing had moved.

import Compute
import TestSupport
import Testing
import Wire
import Worker

@Suite struct `Layers on the move` {
  /// Two workers, the first holding layers before a cut and the second those behind.
  private struct Line {
    var maker: StageMaker
    var pairs = [StagePair(), StagePair()]
    var cut: Int
    /// The next cut and its epoch, while it is prepared.
    private var nextCut: Int?
    private var nextEpoch: UInt32 = 1

    init(_ maker: StageMaker, cut: Int) throws {
      self.maker = maker
      self.cut = cut
      for (index, layers) in Self.layers(cut, maker.layerCount).enumerated() {
        let isInstalled = pairs[index].install(try maker.stage(layers), next: nil)
        let isCommitted = pairs[index].commit(maker.epoch)
        #expect(isInstalled && isCommitted)
      }
    }

    private static func layers(_ cut: Int, _ count: Int) -> [Range<Int>] { [0..<cut, cut..<count] }

    /// Runs a step and returns its logits.
    mutating func run(_ step: Step) throws -> [Float] {
      let first = try #require(pairs[0].stage(for: step).stage)
      let second = try #require(pairs[1].stage(for: step).stage)
      let (next, payloads) = try #require(try first.handOn(step, []))
      return try #require(try second.finish(next, payloads)).1.first ?? []
    }

    /// Prepares another cut beside the one that runs.
    mutating func prepare(cut next: Int) throws {
      nextEpoch += 1
      nextCut = next
      var maker = maker
      maker.epoch = nextEpoch
      for (index, layers) in Self.layers(next, maker.layerCount).enumerated() {
        let stage = try maker.stage(layers, sharing: pairs[index].running)
        let isInstalled = pairs[index].install(stage, next: nil)
        #expect(isInstalled)
      }
    }

    /// Orders keys and values of slots to be sent.
    mutating func begin(_ slots: [SlotState], isEarly: Bool) throws {
      let next = try #require(nextCut)
      for index in pairs.indices {
        // What the other holds behind the move and this one before it.
        let leaving =
          index == 0 ? next..<max(next, cut) : min(next, cut)..<next
        let coming = index == 0 ? min(next, cut)..<next : next..<max(next, cut)
        try pairs[index].begin(
          Move(
            epoch: nextEpoch,
            slots: slots,
            exports: leaving.map { KVExport(layer: $0, endpoint: "ipc:///nowhere/\(1 - index)") },
            imports: isEarly ? 0 : coming.count * slots.count { $0.positionCount > 0 },
            isEarly: isEarly
          )
        )
      }
    }

    /// Moves keys and values of one slot and layer; returns whether there were any.
    mutating func send() throws -> OutgoingRows? {
      for index in pairs.indices {
        guard let rows = try pairs[index].nextExport() else { continue }
        try pairs[1 - index].take(rows.header, rows.payloads)
        return rows
      }
      return nil
    }

    /// Returns whether both say that all is sent and received.
    mutating func isComplete() throws -> Bool {
      var count = 0
      for index in pairs.indices where try pairs[index].completeMove() != nil { count += 1 }
      return count == pairs.count
    }

    mutating func commit() throws {
      for index in pairs.indices {
        let isCommitted = pairs[index].commit(nextEpoch)
        #expect(isCommitted)
      }
      maker.epoch = nextEpoch
      cut = try #require(nextCut)
      nextCut = nil
    }

    mutating func abandon() {
      for index in pairs.indices { pairs[index].abandon(nextEpoch) }
      nextCut = nil
    }
  }

  /// Sessions that come, go on, take prefixes over and end, in slots.
  private struct Sessions {
    var random: SeededRandom
    let contextTokens: Int
    let vocabularySize: Int
    var counts = [0, 0, 0]

    /// The next step: some tokens of one slot.
    mutating func step(_ maker: StageMaker) -> Step {
      let slot = Int.random(in: 0..<3, using: &random)
      let length = Int.random(in: 1...6, using: &random)
      var step = maker.step([])
      let other = Int.random(in: 0..<3, using: &random)
      // A ring of 8 + 16 - 1 positions has not come round yet: any prefix can be taken over.
      let canFork = counts[other] > 0 && counts[other] < 20
      switch Int.random(in: 0..<8, using: &random) {
      case 0:
        step.cleared = [slot]
        counts[slot] = 0
      case 1 where canFork:
        let prefix = Int.random(in: 1...counts[other], using: &random)
        step.forks = [Fork(source: other, target: slot, positionCount: prefix)]
        counts[slot] = prefix
      default: break
      }
      if counts[slot] + length > contextTokens {
        (step.cleared, step.forks, counts[slot]) = ([slot], [], 0)
      }
      let tokens = (0..<length).map { _ in
        Int32.random(in: 0..<Int32(vocabularySize), using: &random)
      }
      step.rows = chunk(slot: slot, tokens, from: counts[slot])
      step.rows[length - 1].output = .logits
      counts[slot] += length
      return step
    }

    var states: [SlotState] {
      counts.enumerated().map { SlotState(slot: $0, positionCount: $1, tokens: []) }
    }
  }

  @Test(.seeded(default: 91)) func `steps before, between and behind early copies change nothing`()
    throws
  {
    var random = SeededRandom(testSeed(default: 91))
    var continued = 0
    for _ in 0..<fuzzIterations(default: 3) {
      let maker = try StageMaker("gemma3-random-a")
      var line = try Line(maker, cut: Int.random(in: 1...13, using: &random))
      let whole = try maker.stage(0..<maker.layerCount)
      var sessions = Sessions(
        random: SeededRandom(random.next()),
        contextTokens: maker.limits.contextTokens,
        vocabularySize: maker.vocabularySize
      )
      func step() throws {
        var step = sessions.step(line.maker)
        let found = try line.run(step)
        step.epoch = whole.epoch
        let expected = try #require(try whole.finish(step, [])).1.first ?? []
        #expect(found.map(\.bitPattern) == expected.map(\.bitPattern), "\(step.rows)")
      }
      for _ in 0..<3 {
        for _ in 0..<Int.random(in: 1...9, using: &random) { try step() }
        try line.prepare(cut: Int.random(in: 1...13, using: &random))
        if Bool.random(using: &random) {
          try line.begin(sessions.states, isEarly: true)
          while let rows = try line.send() {
            #expect(rows.header.isEarly && !rows.header.continues)
            if Int.random(in: 0..<3, using: &random) == 0 { try step() }
          }
          #expect(try line.isComplete())
          for _ in 0..<Int.random(in: 0...5, using: &random) { try step() }
        }
        if Int.random(in: 0..<5, using: &random) == 0 {
          line.abandon()
          continue
        }
        try line.begin(sessions.states, isEarly: false)
        #expect(line.pairs.allSatisfy { !$0.isSendingEarly })
        while let rows = try line.send() {
          #expect(!rows.header.isEarly)
          if rows.header.continues { continued += 1 }
        }
        #expect(try line.isComplete())
        try line.commit()
      }
      for _ in 0..<5 { try step() }
    }
    #expect(continued > 0, "nothing that was sent early was of use")
  }

  @Test func `what has been sent early is not sent again, but for slots with another story`() throws
  {
    let maker = try StageMaker("gemma3-random-a")
    var line = try Line(maker, cut: 7)
    for slot in 0..<3 { _ = try line.run(maker.step(chunk(slot: slot, [2, 5, 9, 4]))) }
    try line.prepare(cut: 6)
    let states = (0..<3).map { SlotState(slot: $0, positionCount: 0, tokens: []) }
    try line.begin(states, isEarly: true)
    #expect(line.pairs[0].isSendingEarly)
    for slot in 0..<3 {
      let rows = try #require(try line.send())
      #expect(rows.header.slot == slot && rows.header.positions == 0..<4)
    }
    #expect(try line.send() == nil)
    #expect(try line.isComplete())
    // Slot 0 goes on, 1 begins anew, 2 begins with what 0 has.
    _ = try line.run(maker.step(chunk(slot: 0, [8, 8], from: 4)))
    var step = maker.step(chunk(slot: 1, [3]) + chunk(slot: 2, [6], from: 5), cleared: [1])
    step.forks = [Fork(source: 0, target: 2, positionCount: 5)]
    _ = try line.run(step)
    let counts = [6, 1, 6]
    try line.begin(
      counts.enumerated().map { SlotState(slot: $0, positionCount: $1, tokens: []) },
      isEarly: false
    )
    let sent = try (0..<3).map { _ in try #require(try line.send()).header }
    #expect(sent.map(\.positions) == [4..<6, 0..<1, 0..<6])
    #expect(sent.map(\.continues) == [true, false, false])
  }

  @Test func `a layer that two workers take goes to each from where that one has it`() throws {
    let maker = try StageMaker("gemma3-random-a")
    var line = try Line(maker, cut: 7)
    _ = try line.run(maker.step(chunk(slot: 0, [2, 5, 9, 4]), sequence: 1))
    try line.prepare(cut: 6)
    let exports = (0..<2).map { KVExport(layer: 6, endpoint: "ipc:///nowhere/\($0)") }
    func move(_ count: Int, isEarly: Bool) -> Move {
      let slots = [SlotState(slot: 0, positionCount: count, tokens: [])]
      return Move(epoch: 2, slots: slots, exports: exports, imports: 0, isEarly: isEarly)
    }
    try line.pairs[0].begin(move(0, isEarly: true))
    #expect(try line.pairs[0].nextExport()?.header.positions == 0..<4)
    _ = try line.run(maker.step(chunk(slot: 0, [8], from: 4), sequence: 2))
    #expect(try line.pairs[0].nextExport()?.header.positions == 0..<5)
    #expect(try line.pairs[0].completeMove() != nil)
    try line.pairs[0].begin(move(5, isEarly: false))
    #expect(try line.pairs[0].nextExport()?.header.positions == 4..<5)
    #expect(try line.pairs[0].nextExport()?.header.positions == 5..<5)
  }

  @Test func `a move that does not fit is refused in words`() throws {
    let maker = try StageMaker("gemma3-random-a")
    var line = try Line(maker, cut: 7)
    try line.prepare(cut: 6)
    func refusal(_ move: Move) -> String {
      do {
        try line.pairs[0].begin(move)
        return "accepted"
      } catch { return "\(error)" }
    }
    let export = KVExport(layer: 6, endpoint: "ipc:///nowhere/1")
    let slot = SlotState(slot: 3, positionCount: 1, tokens: [])
    #expect(
      refusal(Move(epoch: 2, slots: [slot], exports: [export], imports: 0, isEarly: true))
        .contains("slot 3 is outside 0..<3")
    )
    #expect(
      refusal(Move(epoch: 9, slots: [], exports: [], imports: 0)).contains("epoch 2 is prepared")
    )
    let foreign = KVExport(layer: 9, endpoint: "ipc:///nowhere/1")
    #expect(
      refusal(Move(epoch: 2, slots: [], exports: [foreign], imports: 0)).contains("layer 9")
    )
  }
}
