// One KV cache: its memory, its layout, and what it holds of each slot.

internal import CPUKernels
internal import Compute
internal import Synchronization

/// Keys and values of one layer for every slot.
///
/// One mapping, [slots][keys, values][kvHeads, capacity] rows of headDim, with slots on pages of their
/// own, so that clearing a slot gives its memory back. Executables that follow one another share it.
@safe final class CPUCache {
  let shape: Cache
  let operand: cpu_cache
  let type: CacheType
  private let limits: ExecutableLimits
  private let memory: MappedMemory
  private let layout: Layout
  /// By slot.
  private let slots: Mutex<[Slot]>

  private struct Layout {
    /// Of one head at one position.
    var rowByteCount: Int
    var slotByteCount: Int
    var capacity: Int
    /// Keys and values of one position.
    var positionByteCount: Int
  }

  /// What a slot has of each position.
  enum Part: CaseIterable { case keys, values }

  private struct Slot {
    var held: HeldPositions
    /// Whether its memory may have pages.
    var isWritten = false
  }

  /// - Throws: `ComputeError` with code `device` if there is no memory.
  init(_ shape: Cache, type: CacheType, limits: ExecutableLimits) throws(ComputeError) {
    let purpose = "the KV cache of layer \(shape.layer)"
    layout = try Self.layout(shape, type, limits: limits, purpose: purpose)
    memory = try MappedMemory(
      byteCount: try product(layout.slotByteCount, limits.slots, purpose: purpose),
      purpose: purpose
    )
    let keys = unsafe memory.base.assumingMemoryBound(to: UInt8.self)
    let keysByteCount = shape.kvHeadCount * layout.capacity * layout.rowByteCount
    unsafe operand = unsafe cpu_cache(
      keys: keys,
      values: keys + keysByteCount,
      type: type.identifier,
      slot_bytes: Int64(layout.slotByteCount),
      row_bytes: Int64(layout.rowByteCount),
      capacity: Int64(layout.capacity),
      window: Int64(min(shape.window ?? limits.contextTokens, limits.contextTokens)),
      kv_heads: Int64(shape.kvHeadCount),
      head_dim: Int64(shape.headDim)
    )
    self.shape = shape
    self.type = type
    self.limits = limits
    let empty = Slot(held: HeldPositions(capacity: layout.capacity))
    slots = Mutex(Array(repeating: empty, count: limits.slots))
  }

  private static func layout(
    _ cache: Cache,
    _ type: CacheType,
    limits: ExecutableLimits,
    purpose: String
  ) throws(ComputeError) -> Layout {
    guard cache.kvHeadCount > 0, cache.headDim > 0, cache.window ?? 1 > 0 else {
      throw ComputeError(
        .invalidProgram,
        "\(purpose) has \(cache.kvHeadCount) heads of \(cache.headDim), "
          + "window \(cache.window.map(String.init) ?? "none")"
      )
    }
    let rowByteCount = Int(cpu_cache_row_bytes(type.identifier, Int64(cache.headDim)))
    guard rowByteCount > 0 else {
      throw ComputeError(
        .unsupported,
        "\(purpose) cannot be \(type.rawValue): heads of \(cache.headDim) are no blocks of 32"
      )
    }
    // A step writes all its rows before the first attends, so the ring holds the window of the
    // step's first row and all its rows: window + maxRows - 1 positions.
    let ring = cache.window?.addingReportingOverflow(limits.maxRows - 1)
    let capacity = min(
      limits.contextTokens,
      ring.map { $0.overflow ? limits.contextTokens : $0.partialValue } ?? limits.contextTokens
    )
    let positionByteCount = try product(
      cache.kvHeadCount,
      rowByteCount,
      2,
      purpose: purpose
    )
    let byteCount = try product(positionByteCount, capacity, purpose: purpose)
    let pages = byteCount / MappedMemory.pageByteCount + 1
    return Layout(
      rowByteCount: rowByteCount,
      slotByteCount: try product(pages, MappedMemory.pageByteCount, purpose: purpose),
      capacity: capacity,
      positionByteCount: positionByteCount
    )
  }

  /// Returns whether another executable with these would make just such a cache.
  func isFor(_ shape: Cache, _ type: CacheType, _ limits: ExecutableLimits) -> Bool {
    self.shape == shape && self.type == type && self.limits == limits
  }
}

// MARK: - What is held

extension CPUCache {
  func held(slot: Int) -> Range<Int> { slots.withLock { $0[slot].held.range } }

  /// Bytes of the held positions' keys and values.
  var liveByteCount: Int {
    let positions = slots.withLock { $0.reduce(0) { $0 + $1.held.range.count } }
    return positions * layout.positionByteCount
  }

  /// Notes the positions that a step has written.
  func append(_ positions: Range<Int>, slot: Int) {
    slots.withLock {
      $0[slot].held.append(positions)
      $0[slot].isWritten = true
    }
  }

  /// Notes that rows are about to be put in place, and returns those to write.
  func put(_ positions: Range<Int>, slot: Int) -> Range<Int> {
    slots.withLock {
      $0[slot].isWritten = true
      return $0[slot].held.put(positions)
    }
  }

  func keep(upTo count: Int, slot: Int) { slots.withLock { $0[slot].held.keep(upTo: count) } }

  func clear(slot: Int) {
    let wasWritten = slots.withLock {
      let wasWritten = $0[slot].isWritten
      $0[slot] = Slot(held: HeldPositions(capacity: layout.capacity))
      return wasWritten
    }
    guard wasWritten else { return }
    memory.discard(offset: slot * layout.slotByteCount, count: layout.slotByteCount)
  }

  /// Makes `target` hold what is held of the first `count` positions of `source`.
  func copy(slot source: Int, to target: Int, count: Int) {
    clear(slot: target)
    var held = slots.withLock { $0[source].held }
    held.keep(upTo: count)
    let kept = Slot(held: held, isWritten: true)
    for part in Part.allCases {
      for head in 0..<shape.kvHeadCount {
        for run in runs(of: held.range) {
          let from = unsafe address(part, source, head: head, position: run.lowerBound)
          let to = unsafe address(part, target, head: head, position: run.lowerBound)
          unsafe to.update(from: from, count: run.count * layout.rowByteCount)
        }
      }
    }
    slots.withLock { $0[target] = kept }
  }

  /// Returns positions cut where the ring comes round.
  private func runs(of positions: Range<Int>) -> [Range<Int>] {
    let turn = (positions.lowerBound / layout.capacity + 1) * layout.capacity
    guard positions.lowerBound < turn, turn < positions.upperBound else { return [positions] }
    return [positions.lowerBound..<turn, turn..<positions.upperBound]
  }
}

// MARK: - Rows as f32

extension CPUCache {
  /// Where a row of keys or values lies.
  private func address(
    _ part: Part,
    _ slot: Int,
    head: Int,
    position: Int
  ) -> UnsafeMutablePointer<UInt8> {
    let firstRow = part == .keys ? 0 : shape.kvHeadCount * layout.capacity
    let row = firstRow + head * layout.capacity + position % layout.capacity
    let offset = slot * layout.slotByteCount + row * layout.rowByteCount
    return unsafe (memory.base + offset).assumingMemoryBound(to: UInt8.self)
  }

  /// Returns keys or values of some positions: [positions, kvHeadCount * headDim].
  func decode(
    _ part: Part,
    _ slot: Int,
    _ positions: Range<Int>,
    _ kernels: UnsafePointer<cpu_kernels>
  ) -> [Float] {
    unsafe Array(unsafeUninitializedCapacity: positions.count * shape.width) { values, count in
      var next = values.baseAddress
      for position in positions {
        for head in 0..<shape.kvHeadCount {
          let row = unsafe address(part, slot, head: head, position: position)
          unsafe kernels.pointee.dequantise(
            type.valueType.identifier,
            row,
            Int64(shape.headDim),
            next
          )
          unsafe next = unsafe next.map { unsafe $0 + shape.headDim }
        }
      }
      count = positions.count * shape.width
    }
  }

  /// Returns rows of keys or values as an operand that is only read, without its first values.
  func plane(of values: UnsafeBufferPointer<Float>, skipping count: Int) -> cpu_plane {
    unsafe cpu_plane(
      base: UnsafeMutablePointer(mutating: values.baseAddress).map { unsafe $0 + count },
      width: Int64(shape.width),
      plane: 0,
      row_set: RowSet.all.identifier
    )
  }
}

extension CacheType {
  var identifier: cpu_cache_type {
    switch self {
    case .f32: CPU_CACHE_F32
    case .f16: CPU_CACHE_F16
    case .q8_0: CPU_CACHE_Q8_0
    }
  }

  /// The type whose values are stored just so.
  fileprivate var valueType: TensorType {
    switch self {
    case .f32: .f32
    case .f16: .f16
    case .q8_0: .q8_0
    }
  }
}
