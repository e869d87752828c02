// The weights in the forms that kernels read: packed on the device for products, as f32 among the
// constants if they are small, and in the model file where the host looks rows up.

internal import CVulkan
internal import Compute

/// A weight packed for products, in the device's memory.
///
/// It is in several parts if it is larger than one binding may be.
final class PackedWeight: Sendable {
  struct Part: Sendable {
    /// Rows of the weight, from 0.
    var rows: Range<Int>
    var buffer: DeviceBuffer
  }

  let source: WeightBytes
  let parts: [Part]

  init(source: WeightBytes, parts: [Part]) {
    self.source = source
    self.parts = parts
  }

  var byteCount: Int { parts.reduce(0) { $0 + $1.buffer.byteCount } }
}

/// The weights of one program on one device.
///
/// It changes only while a program is compiled, so the next executable may take packed weights over
/// while this one runs.
final class VulkanWeights {
  private let device: VulkanDevice
  /// Whether weights are written to the device; for an outline their places are enough.
  private let packs: Bool
  private var loaded: [WeightRef: WeightBytes] = [:]
  private var packed: [Form: PackedWeight] = [:]
  private var lookedUp: Set<WeightRef> = []
  /// The weights of the previous executable; nil as soon as this program is compiled.
  private var previous: VulkanWeights?
  private(set) var sharedByteCount = 0

  private struct Form: Hashable {
    var weight: WeightRef
    var layout: PackedLayout
  }

  /// The host's memory for a slice of a weight while it is packed.
  private static let sliceByteCount = 16 << 20
  /// The most bytes of a part.
  ///
  /// Some drivers read wrong values behind 2 GiB.
  private static let maxPartBytes = 1 << 30

  init(on device: VulkanDevice, sharing previous: VulkanWeights?, packs: Bool = true) {
    self.device = device
    self.packs = packs
    if let previous, previous.device === device { self.previous = previous }
  }

  /// Releases the previous executable's weights, when everything has been taken over.
  func finish() { previous = nil }

  var packedByteCount: Int { packed.values.reduce(0) { $0 + $1.byteCount } }

  /// The bytes of the tables that the host looks rows up in.
  var mappedByteCount: Int {
    lookedUp.reduce(0) { unsafe $0 + (loaded[$1]?.bytes.count ?? 0) }
  }

  /// Gets a weight's bytes from the source, once.
  ///
  /// - Throws: The source's own error; `ComputeError` with code `weight` if the number of bytes
  ///   does not match the shape.
  func load(_ weight: WeightRef, from source: any WeightSource) throws {
    guard loaded[weight] == nil else { return }
    let bytes = try source.bytes(of: weight)
    guard let rowByteCount = weight.type.byteCount(columns: weight.columns), weight.columns > 0,
      unsafe bytes.bytes.count == rowByteCount * weight.rows.count
    else {
      throw ComputeError(
        .weight,
        "\(weight.name): \(unsafe bytes.bytes.count) bytes for "
          + "[\(weight.rows.count), \(weight.columns)] \(weight.type)"
      )
    }
    loaded[weight] = bytes
  }

  private func bytes(of weight: WeightRef) -> WeightBytes {
    guard let bytes = loaded[weight] else { preconditionFailure("\(weight.name) was not loaded") }
    return bytes
  }

  /// Returns a loaded weight packed for products.
  ///
  /// - Throws: `ComputeError` with code `memory` if the device has too little.
  func packed(
    _ weight: WeightRef,
    _ layout: PackedLayout = .byRows
  ) throws(ComputeError) -> PackedWeight {
    let form = Form(weight: weight, layout: layout)
    if let known = packed[form] { return known }
    let source = bytes(of: weight)
    if let known = previous?.packed[form], isSame(known.source, source) {
      packed[form] = known
      sharedByteCount += known.byteCount
      return known
    }
    let new = PackedWeight(source: source, parts: try makeParts(weight, layout, source))
    source.letGo()
    packed[form] = new
    return new
  }

  private func isSame(_ first: WeightBytes, _ second: WeightBytes) -> Bool {
    unsafe first.bytes.baseAddress == second.bytes.baseAddress
      && first.bytes.count == second.bytes.count
  }

  private func makeParts(
    _ weight: WeightRef,
    _ layout: PackedLayout,
    _ source: WeightBytes
  ) throws(ComputeError) -> [PackedWeight.Part] {
    let tile = layout.tileRows
    let tileByteCount = layout.tileByteCount(weight)
    let tiles = min(device.info.maxRangeBytes, Self.maxPartBytes) / tileByteCount
    guard tiles > 0 else {
      throw ComputeError(.unsupported, "\(weight.name): rows of \(weight.columns) are too long")
    }
    var parts: [PackedWeight.Part] = []
    for first in stride(from: 0, to: weight.rows.count, by: tiles * tile) {
      let rows = first..<min(first + tiles * tile, weight.rows.count)
      let byteCount = (rows.count + tile - 1) / tile * tileByteCount
      let buffer = try DeviceBuffer(byteCount, .device, on: device, purpose: weight.name)
      if packs { try pack(weight, layout, rows, source, into: buffer) }
      parts.append(PackedWeight.Part(rows: rows, buffer: buffer))
    }
    return parts
  }

  /// Packs rows of a weight slice by slice, and evicts the file's pages in between, so that a large
  /// weight is never in memory twice.
  private func pack(
    _ weight: WeightRef,
    _ layout: PackedLayout,
    _ rows: Range<Int>,
    _ source: WeightBytes,
    into buffer: DeviceBuffer
  ) throws(ComputeError) {
    guard let rowByteCount = weight.type.byteCount(columns: weight.columns),
      let base = unsafe source.bytes.baseAddress
    else { return }
    let tile = layout.tileRows
    let tileByteCount = layout.tileByteCount(weight)
    let sliceTiles = max(1, Self.sliceByteCount / tileByteCount)
    let slice = UnsafeMutablePointer<UInt8>.allocate(capacity: sliceTiles * tileByteCount)
    defer { unsafe slice.deallocate() }
    for first in stride(from: rows.lowerBound, to: rows.upperBound, by: sliceTiles * tile) {
      let count = min(sliceTiles * tile, rows.upperBound - first)
      unsafe layout.pack(
        weight,
        base.assumingMemoryBound(to: UInt8.self) + first * rowByteCount,
        rows: count,
        rowByteCount: rowByteCount,
        into: slice
      )
      let byteCount = (count + tile - 1) / tile * tileByteCount
      try unsafe device.write(
        UnsafeRawBufferPointer(start: slice, count: byteCount),
        to: buffer,
        at: (first - rows.lowerBound) / tile * tileByteCount
      )
      if count * rowByteCount >= Self.sliceByteCount / 2 { source.letGo() }
    }
  }

  /// Returns all values of a loaded weight, decoded, with `offset` added to each.
  func values(_ weight: WeightRef, plus offset: Float = 0) -> [Float] {
    (0..<weight.rows.count).flatMap { row(of: weight, $0, columns: 0..<weight.columns) }
      .map { $0 + offset }
  }

  /// Returns the number that a loaded weight of one element holds; 1 without a weight.
  func number(_ weight: WeightRef?) -> Float { weight.map { values($0)[0] } ?? 1 }

  /// Declares that the host looks rows of a loaded weight up in every step.
  func keepForLookups(_ weight: WeightRef) { lookedUp.insert(weight) }

  /// Returns some columns of a row of a loaded weight, decoded.
  func row(of weight: WeightRef, _ index: Int, columns: Range<Int>) -> [Float] {
    guard let stride = weight.type.byteCount(columns: weight.columns) else {
      preconditionFailure("\(weight.name): rows of \(weight.columns) \(weight.type)")
    }
    let bytes = bytes(of: weight)
    return unsafe Dequantize.values(
      UnsafeRawBufferPointer(rebasing: bytes.bytes[(index * stride)..<((index + 1) * stride)]),
      type: weight.type,
      start: columns.lowerBound,
      count: columns.count
    )
  }
}
