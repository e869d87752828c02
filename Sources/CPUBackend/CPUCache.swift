// One KV cache: its memory, its layout, and how rows are read and written.

internal import CPUKernels
internal import Compute

/// Keys and values of one layer for every slot.
///
/// It is one mapping, [slots][keys, values][kvHeads, capacity] rows of headDim. Each slot has pages
/// of its own, so that clearing it releases its memory. Successive executables share the cache.
@safe final class CPUCache: CacheStorage {
  let operand: cpu_cache
  let type: CacheType
  private let shape: Cache
  private let kernels: UnsafePointer<cpu_kernels>
  private let pool: ThreadPool
  private let memory: MappedMemory
  private let layout: Layout

  private struct Layout {
    /// The bytes of one head at one position.
    var rowByteCount: Int
    var slotByteCount: Int
    var capacity: Int
    /// The bytes of the keys and values of one position.
    var positionByteCount: Int
  }

  /// The two kinds of rows that a slot has for each position.
  enum Part: CaseIterable { case keys, values }

  /// - Throws: `ComputeError` with code `memory` if there is no memory.
  init(
    _ shape: Cache,
    type: CacheType,
    limits: ExecutableLimits,
    kernels: UnsafePointer<cpu_kernels>,
    pool: ThreadPool
  ) throws(ComputeError) {
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
    unsafe self.kernels = unsafe kernels
    self.pool = pool
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
        "\(purpose) cannot be \(type.rawValue): heads of \(cache.headDim) are not whole blocks of 32"
      )
    }
    let capacity = cache.capacity(limits)
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

  var positionByteCount: Int { layout.positionByteCount }

  func discard(slot: Int) {
    memory.discard(offset: slot * layout.slotByteCount, count: layout.slotByteCount)
  }

  func copy(_ positions: Range<Int>, from source: Int, to target: Int) {
    for part in Part.allCases {
      for head in 0..<shape.kvHeadCount {
        for run in runs(of: positions) {
          let from = unsafe address(part, source, head: head, position: run.lowerBound)
          let to = unsafe address(part, target, head: head, position: run.lowerBound)
          unsafe to.update(from: from, count: run.count * layout.rowByteCount)
        }
      }
    }
  }

  /// Returns positions split where the ring wraps around.
  private func runs(of positions: Range<Int>) -> [Range<Int>] {
    let turn = (positions.lowerBound / layout.capacity + 1) * layout.capacity
    guard positions.lowerBound < turn, turn < positions.upperBound else { return [positions] }
    return [positions.lowerBound..<turn, turn..<positions.upperBound]
  }
}

// MARK: - Rows as f32

extension CPUCache {
  /// Returns the address of a row of keys or values.
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

  func read(_ positions: Range<Int>, slot: Int) -> (keys: [Float], values: [Float]) {
    (decode(.keys, slot, positions), decode(.values, slot, positions))
  }

  /// Returns keys or values of some positions: [positions, kvHeadCount * headDim].
  private func decode(_ part: Part, _ slot: Int, _ positions: Range<Int>) -> [Float] {
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

  func write(_ rows: CacheRows, slot: Int) {
    let places = rows.positions.map { cpu_row(slot: Int32(slot), position: Int32($0), token: 0) }
    // This is the kernel that stores a step's own rows, so these rows are stored in the same way.
    // It only reads from the planes.
    unsafe rows.keys.withUnsafeBufferPointer { keys in
      unsafe rows.values.withUnsafeBufferPointer { values in
        unsafe places.withUnsafeBufferPointer { places in
          unsafe append(
            cpu_append_args(keys: plane(of: keys), values: plane(of: values), cache: operand),
            places
          )
        }
      }
    }
  }

  private func append(_ arguments: cpu_append_args, _ places: UnsafeBufferPointer<cpu_row>) {
    var step = unsafe cpu_step()
    unsafe step.rows.0 = places.baseAddress
    unsafe step.counts.0 = Int32(places.count)
    unsafe withUnsafePointer(to: arguments) { arguments in
      let call = unsafe cpu_call(run: kernels.pointee.append, args: arguments, waits: false)
      unsafe withUnsafePointer(to: call) {
        unsafe pool.run(UnsafeBufferPointer(start: $0, count: 1), &step)
      }
    }
  }

  /// Returns rows of keys or values as an operand that is only read.
  private func plane(of values: UnsafeBufferPointer<Float>) -> cpu_plane {
    unsafe cpu_plane(
      base: UnsafeMutablePointer(mutating: values.baseAddress),
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

  /// The weight type with the same storage format.
  fileprivate var valueType: TensorType {
    switch self {
    case .f32: .f32
    case .f16: .f16
    case .q8_0: .q8_0
    }
  }
}
