// Buffer descriptors: what a channel moves between a tile's memory and a stream, and what it waits for.
//
// Lengths, steps and addresses count words of 32 bits, but addresses of the machine's memory, which count bytes.
// Each kind of tile has a layout of its own. Sources: Xilinx/mlir-aie, aie_registers_aie2.json; the words of published
// designs.

/// A walk over words: so many, so far apart.
package struct Dimension: Sendable, Hashable {
  /// How many steps until the next dimension advances; nil for the last one, whose count follows from the length.
  package var count: Int?
  /// Words from one to the next.
  package var step: Int

  package init(_ count: Int?, _ step: Int) {
    self.count = count
    self.step = step
  }
}

/// What is done with a lock, before or after a transfer.
package struct LockUse: Sendable, Hashable {
  /// The number of the lock in its tile.
  package var lock: Int
  /// What is added.
  ///
  /// Before a transfer: if it is below zero it waits until as much is there, else until the lock has
  /// this very value.
  package var value: Int

  /// What a lock can count to.
  package static let most = 63

  package init(_ lock: Int, _ value: Int) {
    self.lock = lock
    self.value = value
  }
}

/// What each next execution of a descriptor adds to its addresses.
package struct Iteration: Sendable, Hashable {
  /// How many executions until it begins anew.
  package var count: Int
  /// Words.
  package var step: Int
  /// How many there were.
  package var current = 0

  package init(_ count: Int, _ step: Int, current: Int = 0) {
    self.count = count
    self.step = step
    self.current = current
  }
}

/// A descriptor.
package struct BufferDescriptor: Sendable, Hashable {
  /// Where the words are: in a core's or a memory tile's own memory in words from its beginning, in the machine's
  /// memory in bytes.
  package var base: Int
  /// Words.
  package var length: Int
  /// From the innermost; none for one word after the other.
  package var dimensions: [Dimension]
  package var iteration: Iteration?
  /// The descriptor that follows; nil at the end of a task.
  package var next: Int?
  package var acquire: LockUse?
  package var release: LockUse?

  package init(
    base: Int,
    length: Int,
    dimensions: [Dimension] = [],
    iteration: Iteration? = nil,
    next: Int? = nil,
    acquire: LockUse? = nil,
    release: LockUse? = nil
  ) {
    self.base = base
    self.length = length
    self.dimensions = dimensions
    self.iteration = iteration
    self.next = next
    self.acquire = acquire
    self.release = release
  }
}

// MARK: Layouts

/// The fields of descriptors that designs of this program use; all others must be zero.
private struct Layout {
  var wordCount: Int
  var length: BitField
  /// From the lowest bits.
  var base: [BitField]
  /// What the first word of the tile's own memory is called; bytes for the machine's memory.
  var ownMemory: Int
  /// Each dimension's step less one.
  var steps: [BitField]
  /// Each dimension's count but the last one's.
  var wraps: [BitField]
  var iterationCurrent: BitField
  var iterationWrap: BitField
  var iterationStep: BitField
  var next: BitField
  var usesNext: BitField
  var isValid: BitField
  var releaseValue: BitField
  var releaseLock: BitField
  var acquires: BitField
  var acquireValue: BitField
  var acquireLock: BitField
  /// What the first lock of the tile itself is called.
  var ownLocks: Int
  /// What is always set.
  var constants: [(field: BitField, value: UInt32)]

  static func of(_ kind: Tile.Kind) -> Layout {
    switch kind {
    case .core: core
    case .memory: memory
    case .shim: shim
    }
  }

  static let core = Layout(
    wordCount: 6,
    length: BitField(0, 0...13),
    base: [BitField(0, 14...27)],
    ownMemory: 0,
    steps: [BitField(2, 0...12), BitField(2, 13...25), BitField(3, 0...12)],
    wraps: [BitField(3, 13...20), BitField(3, 21...28)],
    iterationCurrent: BitField(4, 19...24),
    iterationWrap: BitField(4, 13...18),
    iterationStep: BitField(4, 0...12),
    next: BitField(5, 27...30),
    usesNext: BitField(5, 26),
    isValid: BitField(5, 25),
    releaseValue: BitField(5, 18...24),
    releaseLock: BitField(5, 13...16),
    acquires: BitField(5, 12),
    acquireValue: BitField(5, 5...11),
    acquireLock: BitField(5, 0...3),
    ownLocks: 0,
    constants: []
  )

  static let memory = Layout(
    wordCount: 8,
    length: BitField(0, 0...16),
    base: [BitField(1, 0...18)],
    ownMemory: 0x20000,
    steps: [BitField(2, 0...16), BitField(3, 0...16), BitField(4, 0...16), BitField(5, 0...16)],
    wraps: [BitField(2, 17...26), BitField(3, 17...26), BitField(4, 17...26)],
    iterationCurrent: BitField(6, 23...28),
    iterationWrap: BitField(6, 17...22),
    iterationStep: BitField(6, 0...16),
    next: BitField(1, 20...25),
    usesNext: BitField(1, 19),
    isValid: BitField(7, 31),
    releaseValue: BitField(7, 24...30),
    releaseLock: BitField(7, 16...23),
    acquires: BitField(7, 15),
    acquireValue: BitField(7, 8...14),
    acquireLock: BitField(7, 0...7),
    ownLocks: 0x40,
    constants: []
  )

  static let shim = Layout(
    wordCount: 8,
    length: BitField(0, 0...31),
    base: [BitField(1, 0...31), BitField(2, 0...15)],
    ownMemory: 0,
    steps: [BitField(3, 0...19), BitField(4, 0...19), BitField(5, 0...19)],
    wraps: [BitField(3, 20...29), BitField(4, 20...29)],
    iterationCurrent: BitField(6, 26...31),
    iterationWrap: BitField(6, 20...25),
    iterationStep: BitField(6, 0...19),
    next: BitField(7, 27...30),
    usesNext: BitField(7, 26),
    isValid: BitField(7, 25),
    releaseValue: BitField(7, 18...24),
    releaseLock: BitField(7, 13...16),
    acquires: BitField(7, 12),
    acquireValue: BitField(7, 5...11),
    acquireLock: BitField(7, 0...3),
    ownLocks: 0,
    // Bursts of 256 bytes, and the cache policy of all published designs.
    constants: [(BitField(4, 30...31), 2), (BitField(5, 24...27), 2)]
  )
}

extension BufferDescriptor {
  /// The words of the descriptor in a tile of some kind.
  ///
  /// - Throws: `NPUError.operand` if a value does not fit its field.
  package func words(in kind: Tile.Kind) throws(NPUError) -> [UInt32] {
    let layout = Layout.of(kind)
    var words = [UInt32](repeating: 0, count: layout.wordCount)
    func set(_ what: String, _ value: Int, _ field: BitField) throws(NPUError) {
      guard (0...Int(field.most)).contains(value) else {
        throw NPUError(.range, "\(what) of \(value), outside 0 to \(field.most)")
      }
      field.set(UInt32(value), in: &words)
    }
    func setSigned(_ what: String, _ value: Int, _ field: BitField) throws(NPUError) {
      let most = 1 << (field.width - 1)
      guard (-most..<most).contains(value) else {
        throw NPUError(.range, "\(what) of \(value), outside \(-most) to \(most - 1)")
      }
      field.set(UInt32(bitPattern: Int32(value)), in: &words)
    }
    try checkCounts()
    try set("a length", length, layout.length)
    var rest = base + layout.ownMemory
    for (place, field) in layout.base.enumerated() {
      let isLast = place == layout.base.count - 1
      try set("an address", isLast ? rest : rest & Int(field.most), field)
      rest >>= field.width
    }
    guard dimensions.count <= layout.steps.count else {
      throw NPUError(
        .operand,
        "\(dimensions.count) dimensions, of which there are \(layout.steps.count)"
      )
    }
    for (place, dimension) in dimensions.enumerated() {
      try set("a step", dimension.step - 1, layout.steps[place])
      if place < layout.wraps.count {
        try set("a count", dimension.count ?? 0, layout.wraps[place])
      }
    }
    if let iteration {
      try set("an iteration", iteration.current, layout.iterationCurrent)
      try set("iterations", iteration.count - 1, layout.iterationWrap)
      try set("a step of iterations", iteration.step - 1, layout.iterationStep)
    }
    if let next {
      try set("a next descriptor", next, layout.next)
      try set("a next descriptor", 1, layout.usesNext)
    }
    try set("validity", 1, layout.isValid)
    if let acquire {
      try set("a lock", acquire.lock + layout.ownLocks, layout.acquireLock)
      try setSigned("a value of a lock", acquire.value, layout.acquireValue)
      try set("an acquired lock", 1, layout.acquires)
    }
    if let release {
      try set("a lock", release.lock + layout.ownLocks, layout.releaseLock)
      try setSigned("a value of a lock", release.value, layout.releaseValue)
    }
    for constant in layout.constants { constant.field.set(constant.value, in: &words) }
    return words
  }

  /// Reads the words of a descriptor in a tile of some kind.
  ///
  /// - Throws: `NPUError.bytes` if it is not valid, names memory or locks of other tiles, or uses what this
  ///   program does not know.
  package init(words: [UInt32], in kind: Tile.Kind) throws(NPUError) {
    let layout = Layout.of(kind)
    guard words.count == layout.wordCount else {
      throw NPUError(.bytes, "a descriptor of \(words.count) words, not \(layout.wordCount)")
    }
    var unread = words
    func take(_ field: BitField) -> Int {
      defer { field.set(0, in: &unread) }
      return Int(field.value(in: words))
    }
    func takeSigned(_ field: BitField) -> Int {
      let value = take(field)
      return value >> (field.width - 1) == 1 ? value - 1 << field.width : value
    }
    guard take(layout.isValid) == 1 else {
      throw NPUError(.bytes, "a descriptor that is not valid")
    }
    length = take(layout.length)
    var base = 0
    for field in layout.base.reversed() { base = base << field.width | take(field) }
    self.base = base - layout.ownMemory
    var dimensions: [Dimension] = []
    for place in layout.steps.indices {
      let count = place < layout.wraps.count ? take(layout.wraps[place]) : 0
      dimensions.append(Dimension(count == 0 ? nil : count, take(layout.steps[place]) + 1))
    }
    // What is behind the last count does nothing, and a walk by ones is none.
    let last = dimensions.firstIndex { $0.count == nil } ?? dimensions.count - 1
    dimensions.removeLast(dimensions.count - 1 - last)
    if dimensions == [Dimension(nil, 1)] { dimensions = [] }
    self.dimensions = dimensions
    let current = take(layout.iterationCurrent)
    let iterations = take(layout.iterationWrap) + 1
    let step = take(layout.iterationStep) + 1
    iteration =
      iterations == 1 && step == 1 && current == 0
      ? nil : Iteration(iterations, step, current: current)
    let next = take(layout.next)
    self.next = take(layout.usesNext) == 1 ? next : nil
    let acquire = LockUse(
      take(layout.acquireLock) - layout.ownLocks,
      takeSigned(layout.acquireValue)
    )
    let acquires = take(layout.acquires) == 1
    self.acquire = acquires ? acquire : nil
    let lock = take(layout.releaseLock) - layout.ownLocks
    let value = takeSigned(layout.releaseValue)
    release = value == 0 ? nil : LockUse(lock, value)
    for constant in layout.constants { _ = take(constant.field) }
    guard unread.allSatisfy({ $0 == 0 }) else {
      throw NPUError(
        .bytes,
        "a descriptor with fields that are not known: \(unread.map(\.hexadecimal))"
      )
    }
    // A channel would end at once what moves nothing, again and again.
    guard length > 0 else { throw NPUError(.bytes, "a descriptor with a length of 0") }
    let locks = [self.acquire?.lock, release?.lock].compactMap { $0 }
    guard self.base >= 0, locks.allSatisfy((0..<RegisterMap.of(kind).lockCount).contains) else {
      throw NPUError(.bytes, "a descriptor with memory or locks of another tile")
    }
  }

  /// - Throws: `NPUError.range` for a length, a count or a step below one, a step that no field holds, or a count that
  ///   is missing before the last dimension.
  func checkCounts() throws(NPUError) {
    guard length > 0 else { throw NPUError(.range, "a length of \(length)") }
    for count in dimensions.compactMap(\.count) where count < 1 {
      throw NPUError(.range, "a count of \(count)")
    }
    for dimension in dimensions where !(1...1 << 20).contains(dimension.step) {
      throw NPUError(.range, "a step of \(dimension.step)")
    }
    guard dimensions.dropLast().allSatisfy({ $0.count != nil }) else {
      throw NPUError(.range, "a dimension without a count that is not the last")
    }
  }

  /// The farthest word that one execution moves, as a distance from the base.
  var reach: Int {
    var (reach, words) = (0, 1)
    for dimension in dimensions.isEmpty ? [Dimension(nil, 1)] : dimensions {
      let count = (length + words - 1) / words
      let own = min(dimension.count ?? count, count)
      reach += (own - 1) * dimension.step
      words *= own
    }
    return reach
  }

  /// The words that one execution moves, in their order, as distances from the base.
  package var offsets: some Sequence<Int> {
    let dimensions = self.dimensions
    return (0..<length).lazy.map { word in
      var (rest, offset) = (word, 0)
      for dimension in dimensions {
        guard let count = dimension.count else { return offset + rest * dimension.step }
        offset += rest % count * dimension.step
        rest /= count
      }
      return dimensions.isEmpty ? word : offset
    }
  }
}

extension UInt32 {
  package var hexadecimal: String {
    let digits = String(self, radix: 16)
    return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
  }
}
