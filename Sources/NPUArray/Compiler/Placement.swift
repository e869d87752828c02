// Where the buffers, areas and locks of a design are in their tiles.

/// Places in the memories of tiles, and locks.
struct Placement {
  /// Where each copy of a buffer begins, in words of its tile's memory.
  private(set) var addresses: [DesignBuffer: [Int]] = [:]
  private(set) var areas: [DesignArea: Int] = [:]
  private(set) var locks: [DesignBuffer: (empty: Int, full: Int)] = [:]
  /// What tells a channel that a mark is to be sent.
  private(set) var markLocks: [DesignArea: Int] = [:]
  /// Bytes that are taken, in the order of their addresses.
  private var taken: [Tile: [Range<Int>]] = [:]
  private var lockCounts: [Tile: Int] = [:]

  /// - Throws: `NPUError.operand` with the tile whose memory or locks do not suffice.
  init(_ design: Design) throws(NPUError) {
    // What must be in a bank comes first.
    let buffers = design.buffers
    for buffer in buffers.filter({ !$0.banks.isEmpty }) + buffers.filter(\.banks.isEmpty) {
      try place(buffer)
    }
    for buffer in buffers {
      let first = try lock(in: buffer.tile, count: 2)
      locks[buffer] = (first, first + 1)
    }
    for area in design.areas {
      areas[area] = try place("area \(area.name)", words: area.words, in: area.tile) / 4
      guard area.contents.count <= area.words else {
        throw NPUError(.operand, "area \(area.name) has too many words", at: "\(area.tile)")
      }
    }
    for mark in design.transfers.compactMap(\.mark) {
      guard markLocks[mark.area] == nil else {
        throw NPUError(.operand, "two transfers send \(mark.area.name)", at: "\(mark.area.tile)")
      }
      markLocks[mark.area] = try lock(in: mark.area.tile, count: 1)
    }
  }

  private mutating func place(_ buffer: DesignBuffer) throws(NPUError) {
    let map = RegisterMap.of(buffer.tile.kind)
    guard (1...LockUse.most).contains(buffer.copies) else {
      throw NPUError(
        .operand,
        "buffer \(buffer.name) has \(buffer.copies) copies; a lock counts from 1 to \(LockUse.most)",
        at: "\(buffer.tile)"
      )
    }
    guard buffer.banks.isEmpty || buffer.banks.count == buffer.copies,
      buffer.banks.allSatisfy({ (0..<map.bankCount).contains($0) })
    else {
      throw NPUError(
        .operand,
        "buffer \(buffer.name) wants banks \(buffer.banks) for \(buffer.copies) copies, of \(map.bankCount) banks",
        at: "\(buffer.tile)"
      )
    }
    var starts: [Int] = []
    for copy in 0..<buffer.copies {
      let start = try place(
        "buffer \(buffer.name)",
        words: buffer.words,
        in: buffer.tile,
        bank: buffer.banks.isEmpty ? nil : buffer.banks[copy]
      )
      starts.append(start / 4)
    }
    addresses[buffer] = starts
  }

  /// Takes the first bytes that are free, and returns where they begin.
  private mutating func place(
    _ what: String,
    words: Int,
    in tile: Tile,
    bank: Int? = nil
  ) throws(NPUError) -> Int {
    let map = RegisterMap.of(tile.kind)
    guard words > 0, words <= Int(map.memoryBytes) / 4 else {
      throw NPUError(
        .operand,
        "\(what) has \(words) words, of \(map.memoryBytes / 4) in all",
        at: "\(tile)"
      )
    }
    let bytes = words * 4
    let all = bank.map { $0 * map.bankBytes..<($0 + 1) * map.bankBytes } ?? 0..<Int(map.memoryBytes)
    var start = all.lowerBound
    for range in taken[tile, default: []] where range.upperBound > start {
      if range.lowerBound >= start + bytes { break }
      let behind = range.upperBound + DesignBuffer.alignment - 1
      start = behind / DesignBuffer.alignment * DesignBuffer.alignment
    }
    guard start + bytes <= all.upperBound else {
      let used = taken[tile, default: []].filter(all.overlaps).reduce(0) { $0 + $1.count }
      let place = bank.map { "bank \($0)" } ?? "its memory"
      throw NPUError(
        .operand,
        "\(what) wants \(bytes) bytes of \(place), of whose \(all.count) bytes \(used) are taken",
        at: "\(tile)"
      )
    }
    taken[tile, default: []].append(start..<start + bytes)
    taken[tile]?.sort { $0.lowerBound < $1.lowerBound }
    return start
  }

  private mutating func lock(in tile: Tile, count: Int) throws(NPUError) -> Int {
    let first = lockCounts[tile, default: 0]
    let most = RegisterMap.of(tile.kind).lockCount
    guard first + count <= most else {
      throw NPUError(.operand, "more than \(most) locks", at: "\(tile)")
    }
    lockCounts[tile] = first + count
    return first
  }
}
