// The weights in the forms that kernels read: in place in the model file, packed for products, or
// as f32 copies if they are small.

internal import CPUKernels
internal import Compute
internal import Glibc

/// The weights of one program.
///
/// It keeps the owners of their bytes alive. It changes only while a program is compiled, so that
/// prepared weights can be shared with the next executable while this one runs.
@safe final class CPUWeights {
  private let kernels: UnsafePointer<cpu_kernels>
  private let pool: ThreadPool
  private var mapped: [WeightRef: WeightBytes] = [:]
  private var usedInPlace: Set<WeightRef> = []
  private let arena = PackedArena()
  private var packed: [Packing: PackedSlice] = [:]
  private var copies: [CopyKey: DecodedValues] = [:]
  private var onDevice: [WeightRef: DeviceWeight] = [:]
  /// The weights of the previous executable; nil as soon as this program is compiled.
  private var previous: CPUWeights?
  /// The bytes taken over from it.
  private(set) var sharedByteCount = 0

  /// A weight in one of the forms that kernels read.
  private struct Packing: Hashable {
    enum Form { case tiles, columns, rows }

    var weight: WeightRef
    var form: Form
  }

  private struct CopyKey: Hashable {
    var weight: WeightRef
    var offset: Float
  }

  /// Creates the weights.
  ///
  /// The threads of `pool` pack those that `previous` has not prepared for the same kernels.
  init(kernels: UnsafePointer<cpu_kernels>, pool: ThreadPool, sharing previous: CPUWeights?) {
    unsafe self.kernels = unsafe kernels
    self.pool = pool
    if let previous, unsafe previous.kernels == kernels { self.previous = previous }
  }

  /// Releases the previous executable's weights, when everything has been taken over.
  func finish() { previous = nil }

  /// Returns the previous executable's weights if they have this weight from the same bytes.
  private func previous(with weight: WeightRef) -> CPUWeights? {
    guard let previous, let own = mapped[weight], let other = previous.mapped[weight],
      unsafe own.bytes.baseAddress == other.bytes.baseAddress,
      unsafe own.bytes.count == other.bytes.count
    else { return nil }
    return previous
  }

  /// The bytes that are used in place.
  var mappedByteCount: Int {
    usedInPlace.reduce(0) { unsafe $0 + (mapped[$1]?.bytes.count ?? 0) }
  }

  /// The bytes of packed weights and of f32 copies.
  var ownedByteCount: Int {
    packed.values.reduce(0) { $0 + $1.byteCount } + copies.values.reduce(0) { $0 + $1.byteCount }
      + onDevice.values.reduce(0) { $0 + $1.byteCount }
  }

  /// Gets a weight's bytes from the source, once.
  ///
  /// - Throws: The source's own error; `ComputeError` with code `weight` if the number of bytes
  ///   does not match the shape, `unsupported` if there are no kernels for the type.
  func load(_ weight: WeightRef, from source: any WeightSource) throws {
    guard mapped[weight] == nil else { return }
    guard weight.type.hasKernels else {
      throw ComputeError(
        .unsupported,
        "\(weight.name): no kernels for \(weight.type) on this device"
      )
    }
    let bytes = try source.bytes(of: weight)
    guard let rowByteCount = weight.type.byteCount(columns: weight.columns),
      weight.rows.lowerBound >= 0, weight.rows.count <= Int(Int32.max), weight.columns > 0,
      weight.columns <= Int(Int32.max)
    else {
      throw ComputeError(
        .weight,
        "\(weight.name): rows \(weight.rows) of \(weight.columns) \(weight.type) are not a valid matrix"
      )
    }
    let expected = rowByteCount.multipliedReportingOverflow(by: weight.rows.count)
    guard !expected.overflow, unsafe bytes.bytes.count == expected.partialValue else {
      throw ComputeError(
        .weight,
        "\(weight.name): \(unsafe bytes.bytes.count) bytes for "
          + "[\(weight.rows.count), \(weight.columns)] \(weight.type)"
      )
    }
    mapped[weight] = bytes
  }

  /// Returns a loaded weight as a kernel operand, in place.
  func matrix(_ weight: WeightRef) -> cpu_matrix {
    usedInPlace.insert(weight)
    return unsafe stored(weight)
  }

  /// Returns a loaded weight packed for products.
  ///
  /// - Throws: `ComputeError` with code `memory` if there is no memory.
  func packed(_ weight: WeightRef) throws(ComputeError) -> cpu_matrix {
    var source = unsafe stored(weight)
    let rows = unsafe cpu_packed_rows(source.rows)
    let rowBytes = unsafe cpu_packed_row_bytes(&source)
    return unsafe try pack(
      Packing(weight: weight, form: .tiles),
      rows: rows,
      rowBytes: rowBytes
    ) {
      unsafe packSlices(source, into: $0, rowBytes: Int(rowBytes)) { mapped[weight]?.letGo() }
    }
  }

  /// Packs a weight in slices and evicts the file's pages in between, so that a large weight is
  /// never in memory twice.
  private func packSlices(
    _ source: cpu_matrix,
    into target: UnsafeMutablePointer<UInt8>,
    rowBytes: Int,
    letGo: () -> Void
  ) {
    let sliceByteCount = 16 << 20
    let tile = Int(cpu_packed_rows(1))
    let sliceRows = max(1, sliceByteCount / rowBytes / tile) * tile
    var first = 0
    while unsafe first < Int(source.rows) {
      if first > 0 { letGo() }
      var slice = unsafe source
      unsafe slice.bytes += unsafe first * Int(source.row_bytes)
      unsafe slice.rows = unsafe min(Int64(sliceRows), source.rows - Int64(first))
      let packed = unsafe target + first * rowBytes
      unsafe pool.run(kernels.pointee.pack, cpu_pack_args(source: slice, packed: packed))
      first += sliceRows
    }
  }

  /// Returns a loaded weight of type q4_0 packed by columns.
  ///
  /// - Throws: `ComputeError` with code `memory` if there is no memory.
  func packedByColumns(_ weight: WeightRef) throws(ComputeError) -> UnsafePointer<UInt8> {
    let source = unsafe stored(weight)
    let rows = unsafe cpu_column_rows(source.rows)
    return unsafe try pack(
      Packing(weight: weight, form: .columns),
      rows: rows,
      rowBytes: source.row_bytes
    ) {
      unsafe pool.run(kernels.pointee.pack_columns, cpu_pack_args(source: source, packed: $0))
    }.bytes
  }

  /// Returns a copy of a loaded weight in its stored form, in memory with huge pages.
  ///
  /// It is for weights whose rows are read in random order.
  ///
  /// - Throws: `ComputeError` with code `memory` if there is no memory.
  func copied(_ weight: WeightRef) throws(ComputeError) -> cpu_matrix {
    let source = unsafe stored(weight)
    return unsafe try pack(
      Packing(weight: weight, form: .rows),
      rows: source.rows,
      rowBytes: source.row_bytes
    ) {
      unsafe memcpy($0, source.bytes, Int(source.rows * source.row_bytes))
    }
  }

  /// Returns a weight in another form.
  ///
  /// The first time, `fill` makes it in memory that is zero.
  private func pack(
    _ packing: Packing,
    rows: Int64,
    rowBytes: Int64,
    fill: (UnsafeMutablePointer<UInt8>) -> Void
  ) throws(ComputeError) -> cpu_matrix {
    let weight = packing.weight
    var matrix = unsafe stored(weight)
    unsafe matrix.row_bytes = rowBytes
    let slice: PackedSlice
    if let known = packed[packing] ?? share(packing) {
      slice = known
    } else {
      let size = try product(Int(rows), Int(rowBytes), purpose: weight.name)
      slice = unsafe try make(packing, size: size, fill: fill)
    }
    packed[packing] = slice
    unsafe matrix.bytes = unsafe UnsafePointer(slice.base)
    return unsafe matrix
  }

  /// Returns a loaded weight as a device multiplies it.
  ///
  /// - Throws: `ComputeError` with code `memory` if there is no memory, `device` if the device does not take it.
  func onDevice(
    _ weight: WeightRef,
    _ device: any ProductDevice
  ) throws(ComputeError) -> DeviceWeight {
    if let known = onDevice[weight] { return known }
    let layout = try device.layout(depth: weight.columns, outputs: weight.rows.count)
    if let known = previous(with: weight)?.onDevice[weight], known.layout == layout {
      sharedByteCount += known.byteCount
      onDevice[weight] = known
      return known
    }
    let made = try DeviceWeight(
      layout,
      outputs: weight.rows.count,
      on: device,
      name: weight.name
    )
    unsafe pool.run(kernels.pointee.pack_array, made.packing(of: stored(weight)))
    try device.finish(made.memory)
    mapped[weight]?.letGo()
    onDevice[weight] = made
    return made
  }

  private func share(_ packing: Packing) -> PackedSlice? {
    let known = previous(with: packing.weight)?.packed[packing]
    sharedByteCount += known?.byteCount ?? 0
    return known
  }

  private func make(
    _ packing: Packing,
    size: Int,
    fill: (UnsafeMutablePointer<UInt8>) -> Void
  ) throws(ComputeError) -> PackedSlice {
    let slice = try arena.allocate(size, purpose: "packed \(packing.weight.name)")
    unsafe fill(slice.base)
    mapped[packing.weight]?.letGo()
    return slice
  }

  private func stored(_ weight: WeightRef) -> cpu_matrix {
    guard let bytes = mapped[weight],
      let rowByteCount = weight.type.byteCount(columns: weight.columns)
    else { preconditionFailure("\(weight.name) was not loaded") }
    return unsafe cpu_matrix(
      bytes: bytes.bytes.baseAddress?.assumingMemoryBound(to: UInt8.self),
      rows: Int64(weight.rows.count),
      columns: Int64(weight.columns),
      row_bytes: Int64(rowByteCount),
      type: weight.type.identifier
    )
  }

  /// Returns a loaded weight decoded to f32, with `offset` added to each value.
  ///
  /// It is a copy, so it is only for vectors and matrices of a few rows.
  func values(_ weight: WeightRef, plus offset: Float = 0) -> UnsafePointer<Float> {
    let key = CopyKey(weight: weight, offset: offset)
    if let known = copies[key] { return unsafe known.base }
    if let known = previous(with: weight)?.copies[key] {
      copies[key] = known
      sharedByteCount += known.byteCount
      return unsafe known.base
    }
    let matrix = unsafe stored(weight)
    let count = weight.rows.count * weight.columns
    let copy = DecodedValues(count: count)
    unsafe kernels.pointee.dequantise(
      matrix.type,
      matrix.bytes,
      Int64(count),
      copy.values.baseAddress
    )
    for index in 0..<count { unsafe copy.values[index] += offset }
    copies[key] = copy
    return unsafe copy.base
  }

  /// Returns the number that a loaded weight of one element holds; 1 without a weight.
  func number(_ weight: WeightRef?) -> Float {
    guard let weight else { return 1 }
    return unsafe values(weight)[0]
  }

  /// Returns one row of a loaded weight, decoded to f32.
  func row(_ index: Int, of weight: WeightRef) -> [Float] {
    let matrix = unsafe stored(weight)
    return unsafe Array(unsafeUninitializedCapacity: weight.columns) { values, count in
      unsafe kernels.pointee.dequantise(
        matrix.type,
        matrix.bytes + index * Int(matrix.row_bytes),
        matrix.columns,
        values.baseAddress
      )
      count = weight.columns
    }
  }

  /// Returns a norm's parameters as a kernel operand.
  func norm(_ norm: NormParameters) -> cpu_norm {
    let gain = unsafe norm.weight.map { unsafe values($0, plus: norm.gainOffset) }
    return unsafe cpu_norm(gain: gain, epsilon: norm.epsilon)
  }
}

extension TensorType {
  /// The type as kernels number it.
  var identifier: cpu_type { cpu_type(rawValue: number) }

  /// Whether there are kernels for the type that assume the same block sizes.
  var hasKernels: Bool {
    let row = unsafe cpu_type_row_of(identifier)
    return unsafe row.name != nil && Int(row.columns) == blockLength
      && Int(row.bytes) == blockByteCount && row.is_quantised == isQuantised
  }
}
