// One KV cache on a device: its memory, its layout, and how rows are read and written.

internal import CVulkan
internal import Compute

/// Keys and values of one layer for every slot.
///
/// Each is a buffer [slots, kvHeads, capacity] of `CacheLine`. Successive executables share the cache.
final class VulkanCache: CacheStorage {
  let type: CacheType
  let keys: DeviceBuffer
  let values: DeviceBuffer
  let capacity: Int
  let device: VulkanDevice
  private let shape: Cache
  private let line: CacheLine

  /// - Throws: `ComputeError` with code `memory` if the device has too little, or one binding cannot
  ///   reach the whole cache; `unsupported` if heads do not fit the type.
  init(
    _ shape: Cache,
    type: CacheType,
    limits: ExecutableLimits,
    on device: VulkanDevice
  ) throws(ComputeError) {
    let purpose = "the KV cache of layer \(shape.layer)"
    guard shape.kvHeadCount > 0, shape.headDim > 0, shape.window ?? 1 > 0 else {
      throw ComputeError(
        .invalidProgram,
        "\(purpose) has \(shape.kvHeadCount) heads of \(shape.headDim), "
          + "window \(shape.window.map(String.init) ?? "none")"
      )
    }
    guard let line = CacheLine(type, headDim: shape.headDim) else {
      throw ComputeError(
        .unsupported,
        "\(purpose) cannot be \(type.rawValue): heads of \(shape.headDim) are not whole blocks "
          + "of \(type == .q8_0 ? 32 : 2)"
      )
    }
    self.shape = shape
    self.type = type
    self.device = device
    self.line = line
    capacity = shape.capacity(limits)
    var byteCount = line.byteCount
    for factor in [shape.kvHeadCount, capacity, limits.slots] {
      let (product, overflow) = byteCount.multipliedReportingOverflow(by: factor)
      guard !overflow, product <= device.info.maxRangeBytes else {
        let slot = capacity * shape.kvHeadCount * line.byteCount
        throw ComputeError(
          .memory,
          "\(purpose): \(limits.slots) slots of \(capacity) positions in \(type.rawValue) are more than the "
            + "\(device.info.maxRangeBytes) bytes that a kernel of this device reaches, where "
            + "\(device.info.maxRangeBytes / max(slot, 1)) would fit; give fewer --slots, less --context, or a "
            + "smaller type with --kv-cache"
        )
      }
      byteCount = product
    }
    keys = try DeviceBuffer(byteCount, .device, on: device, purpose: purpose)
    values = try DeviceBuffer(byteCount, .device, on: device, purpose: purpose)
  }

  /// The type as shaders number it (cache.glsl).
  var typeNumber: UInt32 {
    switch type {
    case .f32: 0
    case .f16: 1
    case .q8_0: 2
    }
  }

  var positionByteCount: Int { 2 * shape.kvHeadCount * line.byteCount }

  /// Where a head's keys, or values, of a position are.
  private func offset(_ slot: Int, _ head: Int, _ position: Int) -> Int {
    ((slot * shape.kvHeadCount + head) * capacity + position % capacity) * line.byteCount
  }

  /// Returns positions split where the ring wraps around.
  private func runs(of positions: Range<Int>) -> [Range<Int>] {
    let turn = (positions.lowerBound / capacity + 1) * capacity
    guard positions.lowerBound < turn, turn < positions.upperBound else { return [positions] }
    return [positions.lowerBound..<turn, turn..<positions.upperBound]
  }

  func read(
    _ positions: Range<Int>,
    slot: Int
  ) throws(ComputeError) -> (keys: [Float], values: [Float]) {
    (try read(keys, positions, slot), try read(values, positions, slot))
  }

  private func read(
    _ buffer: DeviceBuffer,
    _ positions: Range<Int>,
    _ slot: Int
  ) throws(ComputeError) -> [Float] {
    var rows = Array(repeating: Float(0), count: positions.count * shape.width)
    for head in 0..<shape.kvHeadCount {
      for run in runs(of: positions) {
        let words = try device.read(
          UInt32.self,
          from: buffer,
          at: offset(slot, head, run.lowerBound),
          count: run.count * line.wordCount
        )
        let values = line.decode(words)
        for (index, position) in run.enumerated() {
          let to = (position - positions.lowerBound) * shape.width + head * shape.headDim
          let from = index * shape.headDim
          let head = values[from..<(from + shape.headDim)]
          rows.replaceSubrange(to..<(to + shape.headDim), with: head)
        }
      }
    }
    return rows
  }

  func write(_ rows: CacheRows, slot: Int) throws(ComputeError) {
    try write(rows.keys, rows.positions, slot, to: keys)
    try write(rows.values, rows.positions, slot, to: values)
  }

  private func write(
    _ rows: [Float],
    _ positions: Range<Int>,
    _ slot: Int,
    to buffer: DeviceBuffer
  ) throws(ComputeError) {
    for head in 0..<shape.kvHeadCount {
      for run in runs(of: positions) {
        var values: [Float] = []
        values.reserveCapacity(run.count * shape.headDim)
        for position in run {
          let from = (position - positions.lowerBound) * shape.width + head * shape.headDim
          values += rows[from..<(from + shape.headDim)]
        }
        try device.write(line.encode(values), to: buffer, at: offset(slot, head, run.lowerBound))
      }
    }
  }

  func copy(_ positions: Range<Int>, from source: Int, to target: Int) throws(ComputeError) {
    var copies: [cvk_copy] = unsafe []
    for buffer in [keys, values] {
      for head in 0..<shape.kvHeadCount {
        for run in runs(of: positions) {
          unsafe copies.append(
            buffer.copy(
              from: buffer,
              at: offset(source, head, run.lowerBound),
              to: offset(target, head, run.lowerBound),
              byteCount: run.count * line.byteCount
            )
          )
        }
      }
    }
    try unsafe device.copy(copies)
  }

  // A device's memory is not given back in parts.
  func discard(slot: Int) {}
}
