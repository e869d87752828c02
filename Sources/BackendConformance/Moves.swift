// What every executable must do so that sessions can move: give keys and values out, take them in, go
// on from them, go back to a prefix, copy a slot, follow another executable. Bit for bit, always.

package import Compute

/// Tries what moves sessions, and returns what is wrong, one line each.
///
/// - Parameters:
///   - backend: The backend to try.
///   - foreign: A backend whose executables it must not take anything from; nil to try none.
///   - seed: What weights and tokens follow from.
/// - Returns: One line for each thing that is wrong.
/// - Throws: What the backend throws where it should not.
package func checkMoves(
  of backend: any Backend,
  foreign: (any Backend)?,
  seed: UInt64
) throws -> [String] {
  var checker = try MoveChecker(backend: backend, seed: seed)
  try checker.checkMoving()
  try checker.checkGoingBack()
  try checker.checkCopying()
  try checker.checkRefusals()
  try checker.checkSharing(foreign: foreign)
  return checker.wrong
}

/// Positions of a session, and what was put out at each.
private typealias Outputs = [Int: [UInt32]]

private struct MoveChecker {
  let backend: any Backend
  let testCase: ConformanceCase
  /// What session 0 puts out in one go, on an executable of its own.
  private let whole: Outputs
  var wrong: [String] = []

  /// Enough for the ring of a window of 4 and steps of 3 rows to come round twice.
  static let prefix = 13
  static let length = 20

  init(backend: any Backend, seed: UInt64) throws {
    self.backend = backend
    // Heads of 32, for every type of cache.
    var testCase = ConformanceCase.lifecycle(seed: seed, headDim: 32)
    testCase.maxRows = 3
    self.testCase = testCase
    let runner = try Self.compile(testCase, backend)
    whole = try Self.run(0..<Self.length, of: 0, on: runner, slot: 1)
  }

  private static func compile(
    _ testCase: ConformanceCase,
    _ backend: any Backend,
    maxRows: Int = 3,
    sharing previous: ProgramRunner? = nil
  ) throws -> ProgramRunner {
    var testCase = testCase
    testCase.maxRows = maxRows
    return try backend.prepare(
      testCase.program,
      weights: testCase.weights,
      limits: testCase.limits,
      sharing: previous
    ) { _ in }
  }

  private func compile(
    maxRows: Int = 3,
    sharing previous: ProgramRunner? = nil
  ) throws -> ProgramRunner {
    try Self.compile(testCase, backend, maxRows: maxRows, sharing: previous)
  }

  /// Runs positions of a session in a slot, in steps as large as may be.
  private static func run(
    _ positions: Range<Int>,
    of session: Int,
    on runner: ProgramRunner,
    slot: Int
  ) throws -> Outputs {
    var outputs: Outputs = [:]
    var position = positions.lowerBound
    while position < positions.upperBound {
      let end = min(positions.upperBound, position + runner.limits.maxRows)
      let rows = (position..<end).map {
        Row(slot: slot, position: $0, token: Int32((session * 17 + $0 * 7) % 40), isWanted: true)
      }
      let values = try runner.run(Batch(rows: rows), inputs: [])[0]
      let width = values.count / rows.count
      for (index, row) in rows.enumerated() {
        outputs[row.position] = values[(index * width)..<((index + 1) * width)].map(\.bitPattern)
      }
      position = end
    }
    return outputs
  }

  private mutating func expect(_ condition: Bool, _ name: String) {
    if !condition { wrong.append(name) }
  }

  /// Runs on session 0 and compares with the run in one go.
  private mutating func expectWhole(
    _ positions: Range<Int>,
    on runner: ProgramRunner,
    slot: Int,
    _ name: String
  ) throws {
    let got = try Self.run(positions, of: 0, on: runner, slot: slot)
    expect(got == whole.filter { positions.contains($0.key) }, "\(name): other bits")
  }

  /// Expects a refusal with code `batch` whose message says `part`.
  private mutating func expectRefusal(
    _ name: String,
    saying part: String,
    _ body: () throws -> Void
  ) {
    do {
      try body()
      wrong.append("\(name) was not refused")
    } catch let error as ComputeError {
      expect(error.code == .batch && error.message.contains(part), "\(name): \(error)")
    } catch {
      wrong.append("\(name): \(error)")
    }
  }

  private var caches: Range<Int> { 0..<testCase.program.caches.count }

  private func holds(_ runner: ProgramRunner, slot: Int, at count: Int) -> Bool {
    caches.allSatisfy { cache in
      let seen = testCase.program.caches[cache].seen(from: count)
      let held = runner.heldPositions(cache: cache, slot: slot)
      return seen.isEmpty || seen.clamped(to: held) == seen
    }
  }

  /// Moves all that is held, some rows at a time, in the order given.
  private func move(
    from source: ProgramRunner,
    _ slot: Int,
    to target: ProgramRunner,
    _ other: Int,
    pieces: ([Range<Int>]) -> [Range<Int>] = { $0 }
  ) throws {
    for cache in caches {
      let held = source.heldPositions(cache: cache, slot: slot)
      let starts = stride(from: held.lowerBound, to: held.upperBound, by: 4)
      for piece in pieces(starts.map { $0..<min($0 + 4, held.upperBound) }) {
        let rows = try source.exportRows(cache: cache, slot: slot, positions: piece)
        try target.importRows(rows, cache: cache, slot: other)
      }
    }
  }
}

// MARK: - Moving

extension MoveChecker {
  fileprivate mutating func checkMoving() throws {
    let source = try compile()
    _ = try Self.run(0..<Self.prefix, of: 0, on: source, slot: 0)
    expect(source.positionCount(slot: 0) == Self.prefix, "another position count than was run")
    for cache in caches {
      let held = source.heldPositions(cache: cache, slot: 0)
      expect(held.upperBound == Self.prefix, "cache \(cache) holds \(held) after a run")
    }
    expect(holds(source, slot: 0, at: Self.prefix), "caches lack what the next row sees")
    // Rings of other sizes on the other side: the window alone, the same, no ring at all.
    for maxRows in [1, 3, 24] {
      let target = try compile(maxRows: maxRows)
      // What a slot held before must not show through.
      _ = try Self.run(0..<Self.length, of: 1, on: target, slot: 2)
      if maxRows == 3 {
        for cache in caches {
          target.forget(cache: cache, slot: 2)
          expect(target.heldPositions(cache: cache, slot: 2).isEmpty, "forgotten, and held")
        }
        expect(target.positionCount(slot: 2) == Self.length, "forgetting moved a position count")
        try target.resume(slot: 2, at: 0)
      } else {
        target.clear(slot: 2)
      }
      try move(from: source, 0, to: target, 2)
      expect(target.positionCount(slot: 2) == 0, "importing moved a position count")
      try target.resume(slot: 2, at: Self.prefix)
      try expectSameRows(source, 0, target, 2, "moved to steps of \(maxRows) rows")
      try expectWhole(
        Self.prefix..<Self.length,
        on: target,
        slot: 2,
        "moved to steps of \(maxRows) rows"
      )
    }
    let target = try compile(maxRows: 1)
    try move(from: source, 0, to: target, 0) { $0.reversed() }
    try target.resume(slot: 0, at: Self.prefix)
    try expectSameRows(source, 0, target, 0, "moved last rows first")
    try expectWhole(Self.prefix..<Self.length, on: target, slot: 0, "moved last rows first")
    try expectWhole(Self.prefix..<Self.length, on: source, slot: 0, "the source of a move")
  }

  /// Compares the rows that both executables hold.
  private mutating func expectSameRows(
    _ left: ProgramRunner,
    _ leftSlot: Int,
    _ right: ProgramRunner,
    _ rightSlot: Int,
    _ name: String
  ) throws {
    for cache in caches {
      let held = left.heldPositions(cache: cache, slot: leftSlot)
        .clamped(to: right.heldPositions(cache: cache, slot: rightSlot))
      let ours = try left.exportRows(cache: cache, slot: leftSlot, positions: held)
      let theirs = try right.exportRows(cache: cache, slot: rightSlot, positions: held)
      expect(!held.isEmpty && ours == theirs, "\(name): other rows \(held) in cache \(cache)")
    }
  }
}

// MARK: - Prefixes and copies

extension MoveChecker {
  fileprivate mutating func checkGoingBack() throws {
    var resumed = 0
    for count in 0...Self.prefix {
      let runner = try compile()
      _ = try Self.run(0..<Self.prefix, of: 0, on: runner, slot: 0)
      guard holds(runner, slot: 0, at: count) else {
        expectRefusal("going back to \(count)", saying: "resume at \(count)") {
          try runner.resume(slot: 0, at: count)
        }
        try expectWhole(Self.prefix..<15, on: runner, slot: 0, "after a refused resume")
        continue
      }
      resumed += 1
      try runner.resume(slot: 0, at: count)
      expect(runner.positionCount(slot: 0) == count, "resume at \(count) counts otherwise")
      for cache in caches {
        let held = runner.heldPositions(cache: cache, slot: 0)
        expect(held.upperBound <= count, "cache \(cache) holds \(held) after going to \(count)")
      }
      try expectBranch(at: count, on: runner, slot: 0, "back to \(count)")
    }
    // To nothing, and to the end, at least.
    expect(resumed >= 2, "no prefix can be gone back to")
  }

  /// Goes on with another session's tokens and compares with a cold run of the same tokens.
  private mutating func expectBranch(
    at count: Int,
    on runner: ProgramRunner,
    slot: Int,
    _ name: String
  ) throws {
    let cold = try compile()
    _ = try Self.run(0..<count, of: 0, on: cold, slot: 0)
    let want = try Self.run(count..<Self.length, of: 1, on: cold, slot: 0)
    let got = try Self.run(count..<Self.length, of: 1, on: runner, slot: slot)
    expect(got == want, "\(name): other bits than a cold run")
    for cache in caches {
      let held = runner.heldPositions(cache: cache, slot: slot)
      let ours = try runner.exportRows(cache: cache, slot: slot, positions: held)
      let rows = cold.heldPositions(cache: cache, slot: 0).clamped(to: held)
      let theirs = try cold.exportRows(cache: cache, slot: 0, positions: rows)
      let width = testCase.program.caches[cache].width
      let skipped = (rows.lowerBound - held.lowerBound) * width
      expect(
        rows.upperBound == Self.length && Array(ours.keys[skipped...]) == theirs.keys,
        "\(name): cache \(cache) holds \(held) with other keys than a cold run"
      )
    }
  }

  fileprivate mutating func checkCopying() throws {
    for count in [0, Self.prefix - 1, Self.prefix] {
      let runner = try compile()
      _ = try Self.run(0..<Self.length, of: 1, on: runner, slot: 2)
      _ = try Self.run(0..<Self.prefix, of: 0, on: runner, slot: 0)
      try runner.copy(slot: 0, to: 2, count: count)
      for cache in caches {
        let held = runner.heldPositions(cache: cache, slot: 2)
        let source = runner.heldPositions(cache: cache, slot: 0)
        expect(held.isEmpty ? count == 0 : held == source.lowerBound..<count, "copied \(held)")
      }
      try runner.resume(slot: 2, at: count)
      try expectBranch(at: count, on: runner, slot: 2, "a copy of \(count)")
      try expectWhole(Self.prefix..<Self.length, on: runner, slot: 0, "the source of a copy")
    }
  }
}

// MARK: - Refusals

extension MoveChecker {
  fileprivate mutating func checkRefusals() throws {
    let runner = try compile()
    _ = try Self.run(0..<Self.prefix, of: 0, on: runner, slot: 0)
    let held = runner.heldPositions(cache: 0, slot: 0)
    let rows = try runner.exportRows(cache: 0, slot: 0, positions: held)
    let kvByteCount = runner.kvByteCount
    for slot in [-1, 3] {
      expectRefusal("export of slot \(slot)", saying: "slot \(slot)") {
        _ = try runner.exportRows(cache: 0, slot: slot, positions: 0..<1)
      }
      expectRefusal("import to slot \(slot)", saying: "slot \(slot)") {
        try runner.importRows(rows, cache: 0, slot: slot)
      }
      expectRefusal("resume of slot \(slot)", saying: "slot \(slot)") {
        try runner.resume(slot: slot, at: 0)
      }
      expectRefusal("copy from slot \(slot)", saying: "slot \(slot)") {
        try runner.copy(slot: slot, to: 0, count: 0)
      }
      expectRefusal("copy to slot \(slot)", saying: "slot \(slot)") {
        try runner.copy(slot: 0, to: slot, count: 0)
      }
    }
    for cache in [-1, 2] {
      expectRefusal("export of cache \(cache)", saying: "cache \(cache)") {
        _ = try runner.exportRows(cache: cache, slot: 0, positions: 0..<1)
      }
      expectRefusal("import to cache \(cache)", saying: "cache \(cache)") {
        try runner.importRows(rows, cache: cache, slot: 0)
      }
    }
    checkRefusedPositions(runner)
    checkRefusedRows(runner, rows)
    expect(runner.kvByteCount == kvByteCount, "a refusal changed the caches")
    try expectWhole(Self.prefix..<Self.length, on: runner, slot: 0, "after refusals")
  }

  private mutating func checkRefusedPositions(_ runner: ProgramRunner) {
    expectRefusal("export beyond the end", saying: "10..<14") {
      _ = try runner.exportRows(cache: 0, slot: 0, positions: 10..<14)
    }
    expectRefusal("export of an empty slot", saying: "0..<1") {
      _ = try runner.exportRows(cache: 1, slot: 1, positions: 0..<1)
    }
    for count in [-1, 21] {
      expectRefusal("resume at \(count)", saying: "\(count)") {
        try runner.resume(slot: 0, at: count)
      }
    }
    expectRefusal("resume of an empty slot", saying: "0..<0 are held") {
      try runner.resume(slot: 1, at: 1)
    }
    for count in [-1, 14] {
      expectRefusal("copy of \(count) positions", saying: "\(count)") {
        try runner.copy(slot: 0, to: 1, count: count)
      }
    }
    expectRefusal("copy of a slot to itself", saying: "itself") {
      try runner.copy(slot: 0, to: 0, count: 1)
    }
  }

  private mutating func checkRefusedRows(_ runner: ProgramRunner, _ rows: CacheRows) {
    var other = rows
    other.layer = 7
    var short = rows
    short.keys.removeLast()
    var long = rows
    long.values.append(0)
    var late = rows
    late.positions = 8..<(8 + rows.positions.count)
    var early = rows
    early.positions = -1..<(rows.positions.count - 1)
    for (name, misfit, part) in [
      ("rows of another layer", other, "layer 7"),
      ("too few keys", short, "\(rows.keys.count - 1) keys, \(rows.keys.count) expected"),
      ("too many values", long, "\(rows.keys.count + 1) values, \(rows.keys.count) expected"),
      ("rows beyond the context", late, "0..<20"),
      ("negative positions", early, "-1"),
    ] {
      expectRefusal(name, saying: part) { try runner.importRows(misfit, cache: 0, slot: 0) }
    }
  }
}

// MARK: - Sharing

extension MoveChecker {
  fileprivate mutating func checkSharing(foreign: (any Backend)?) throws {
    let old = try compile()
    _ = try Self.run(0..<5, of: 0, on: old, slot: 0)
    // One that is dropped again.
    let dropped = try compile(sharing: old)
    expect(dropped.positionCount(slot: 0) == 0, "position counts are shared")
    for cache in caches {
      expect(
        dropped.heldPositions(cache: cache, slot: 0) == old.heldPositions(cache: cache, slot: 0),
        "cache \(cache) is not shared"
      )
    }
    try expectWhole(5..<Self.prefix, on: old, slot: 0, "beside its successor")
    for limits in [1, 24] {
      let other = try compile(maxRows: limits, sharing: old)
      expect(other.heldPositions(cache: 0, slot: 0).isEmpty, "a cache of other limits is shared")
    }
    if let foreign {
      let stranger = try compile(sharing: try Self.compile(testCase, foreign))
      expect(stranger.footprint.sharedWeightBytes == 0, "another backend's weights are shared")
      try expectWhole(0..<Self.length, on: stranger, slot: 0, "after another backend's")
    }
    try checkSuccession(old)
  }

  /// Three executables one after the other, each let go before the next runs.
  private mutating func checkSuccession(_ first: ProgramRunner) throws {
    var current = first
    for position in Self.prefix..<(Self.prefix + 3) {
      current = try compile(sharing: current)
      expectRefusal("a row before resume", saying: "the row is at \(position)") {
        _ = try Self.run(position..<(position + 1), of: 0, on: current, slot: 0)
      }
      try current.resume(slot: 0, at: position)
      try expectWhole(position..<(position + 1), on: current, slot: 0, "a successor")
    }
    current.clear(slot: 0)
    expect(current.kvByteCount == 0, "a shared cache is not cleared")
    try expectWhole(0..<Self.length, on: current, slot: 0, "a successor after clear")
  }
}
