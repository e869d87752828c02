// The KV caches of one executable.

internal import CPUKernels
internal import Compute

/// Keys and values of every slot, and how far each slot has come.
///
/// One mapping a cache, [slots][keys, values][kvHeads, capacity] rows of headDim, with slots on pages of
/// their own, so that clearing a slot gives its memory back.
@safe final class CPUCaches {
  /// By cache index in the program.
  let caches: [cpu_cache]
  private let memory: [MappedMemory]
  private let layouts: [Layout]
  /// By slot: the position its next row must have.
  private(set) var nextPositions: [Int]

  private struct Layout {
    /// Of one head at one position.
    var rowByteCount: Int
    var slotByteCount: Int
    var capacity: Int
    /// Keys and values of one position.
    var positionByteCount: Int
  }

  /// - Throws: `ComputeError` with code `device` if there is no memory.
  init(_ caches: [Cache], type: CacheType, limits: ExecutableLimits) throws(ComputeError) {
    var operands: [cpu_cache] = unsafe []
    var memory: [MappedMemory] = []
    var layouts: [Layout] = []
    for cache in caches {
      let purpose = "the KV cache of layer \(cache.layer)"
      let layout = try Self.layout(cache, type, limits: limits, purpose: purpose)
      let mapping = try MappedMemory(
        byteCount: try product(layout.slotByteCount, limits.slots, purpose: purpose),
        purpose: purpose
      )
      let keys = unsafe mapping.base.assumingMemoryBound(to: UInt8.self)
      let keysByteCount = cache.kvHeadCount * layout.capacity * layout.rowByteCount
      unsafe operands.append(
        cpu_cache(
          keys: keys,
          values: keys + keysByteCount,
          type: type.identifier,
          slot_bytes: Int64(layout.slotByteCount),
          row_bytes: Int64(layout.rowByteCount),
          capacity: Int64(layout.capacity),
          window: Int64(min(cache.window ?? limits.contextTokens, limits.contextTokens)),
          kv_heads: Int64(cache.kvHeadCount),
          head_dim: Int64(cache.headDim)
        )
      )
      memory.append(mapping)
      layouts.append(layout)
    }
    unsafe self.caches = unsafe operands
    self.memory = memory
    self.layouts = layouts
    nextPositions = Array(repeating: 0, count: limits.slots)
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

  /// Bytes of the live positions' keys and values.
  var liveByteCount: Int {
    layouts.reduce(0) { sum, layout in
      nextPositions.reduce(sum) { $0 + min($1, layout.capacity) * layout.positionByteCount }
    }
  }

  /// Checks that each slot's rows continue where its last step ended.
  ///
  /// - Throws: `ComputeError` with code `batch`, naming the row.
  func validate(_ batch: Batch) throws(ComputeError) {
    guard unsafe !caches.isEmpty else { return }
    var previousSlot: Int?
    for (index, row) in batch.rows.enumerated() {
      defer { previousSlot = row.slot }
      guard row.slot != previousSlot, row.position != nextPositions[row.slot] else { continue }
      throw ComputeError(
        .batch,
        "row \(index): slot \(row.slot) holds \(nextPositions[row.slot]) positions, "
          + "the row is at \(row.position)"
      )
    }
  }

  /// Notes the positions that a step has written.
  func advance(by batch: Batch) {
    for row in batch.rows { nextPositions[row.slot] = row.position + 1 }
  }

  func clear(slot: Int) {
    guard nextPositions[slot] > 0 else { return }
    nextPositions[slot] = 0
    for (mapping, layout) in zip(memory, layouts) {
      mapping.discard(offset: slot * layout.slotByteCount, count: layout.slotByteCount)
    }
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
}
