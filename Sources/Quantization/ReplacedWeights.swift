// A model some of whose weights have other values: what it would be if they were quantised.

internal import Compute
internal import Gemma
internal import Glibc

/// Values of some of a weight's rows, in the place of those that the model has.
// @safe, @unchecked Sendable: the memory is written in init only.
@safe final class ReplacedRows: @unchecked Sendable {
  let rows: Range<Int>
  let columns: Int
  private let memory: UnsafeMutableRawPointer
  private let byteCount: Int

  /// All of the rows in order.
  convenience init(_ rows: Range<Int>, columns: Int, values: [Float]) throws(QuantizationError) {
    precondition(values.count == rows.count * columns, "\(values.count) values for \(rows)")
    try self.init(rows, columns: columns)
    unsafe values.withUnsafeBytes { bytes in
      if let source = bytes.baseAddress {
        unsafe memory.copyMemory(from: source, byteCount: bytes.count)
      }
    }
  }

  /// Some of the rows of a table; the others are zero and take no memory.
  convenience init(
    of rowCount: Int,
    columns: Int,
    some: [Int: ArraySlice<Float>]
  ) throws(QuantizationError) {
    try self.init(0..<rowCount, columns: columns)
    for (row, values) in some {
      precondition(values.count == columns, "\(values.count) values, \(columns) expected")
      unsafe values.withUnsafeBytes { bytes in
        if let source = bytes.baseAddress {
          unsafe (memory + row * columns * MemoryLayout<Float>.stride)
            .copyMemory(from: source, byteCount: bytes.count)
        }
      }
    }
  }

  private init(_ rows: Range<Int>, columns: Int) throws(QuantizationError) {
    self.rows = rows
    self.columns = columns
    byteCount = max(1, rows.count * columns * MemoryLayout<Float>.stride)
    // Pages that nobody writes take no memory, and none is set aside for them.
    let mapped = unsafe mmap(
      nil,
      byteCount,
      PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
      -1,
      0
    )
    guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
      throw QuantizationError(.source, "no memory for \(byteCount >> 20) MiB of weights")
    }
    unsafe memory = unsafe mapped
  }

  deinit { unsafe munmap(memory, byteCount) }

  /// Returns some of the rows as a backend takes them.
  func bytes(_ wanted: Range<Int>) -> WeightBytes {
    let rowByteCount = columns * MemoryLayout<Float>.stride
    let first = (wanted.lowerBound - rows.lowerBound) * rowByteCount
    return unsafe WeightBytes(
      bytes: UnsafeRawBufferPointer(start: memory + first, count: wanted.count * rowByteCount),
      owner: self
    )
  }
}

/// A checkpoint in which some weights are replaced by f32 values.
struct ReplacedWeights: WeightDirectory, WeightSource {
  let checkpoint: Checkpoint
  /// By canonical name.
  var replaced: [String: ReplacedRows] = [:]

  func weight(_ name: WeightName, rows: Range<Int>?) throws(GemmaError) -> WeightRef {
    var weight = try checkpoint.weight(name, rows: rows)
    if replaced[name.canonical] != nil { weight.type = .f32 }
    return weight
  }

  func bytes(of weight: WeightRef) throws -> WeightBytes {
    guard let rows = replaced[weight.name] else { return try checkpoint.bytes(of: weight) }
    guard rows.rows.lowerBound <= weight.rows.lowerBound,
      rows.rows.upperBound >= weight.rows.upperBound
    else {
      preconditionFailure(
        "rows \(weight.rows) of \(weight.name), of which \(rows.rows) are replaced"
      )
    }
    return rows.bytes(weight.rows)
  }
}
