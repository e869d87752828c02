// Infinities and NaNs in results: whether there are any, and where in a program they arose first.

/// Where a step's results first contained an infinity or a NaN.
package struct NonFinite: Sendable, Hashable {
  package enum Cause: Sendable, Hashable {
    /// A weight of the op contains an infinity or a NaN.
    case weight(String)
    /// Keys or values are larger than a cache of this type can store (overflow).
    case overflow(CacheType)
    /// Cached keys or values of an earlier position are infinite or NaN.
    case kept
    /// All that the op reads is finite.
    case result
  }

  /// The op's index in the program.
  package var op: Int
  package var cause: Cause

  package init(op: Int, cause: Cause) {
    self.op = op
    self.cause = cause
  }
}

/// Returns whether all values are finite: neither infinite nor NaN.
///
/// It runs over all outputs of a stage, logits included, so it must be fast: it takes three
/// operations for a vector. Infinities and NaNs have an exponent of all ones, and adding 1 to its
/// lowest bit carries into the sign bit.
package func areFinite(_ values: [Float]) -> Bool {
  unsafe values.withUnsafeBufferPointer { values in
    var carries = SIMD16<UInt32>(repeating: 0)
    let whole = values.count / 16 * 16
    let start = unsafe UnsafeRawPointer(values.baseAddress)
    for index in stride(from: 0, to: whole, by: 16) {
      guard let start = unsafe start else { break }
      let bits = unsafe start.loadUnaligned(
        fromByteOffset: 4 * index,
        as: SIMD16<UInt32>.self
      )
      carries |= (bits & 0x7FFF_FFFF) &+ 0x0080_0000
    }
    var isFinite = true
    for lane in 0..<16 where carries[lane] >> 31 != 0 { isFinite = false }
    for index in whole..<values.count where unsafe !values[index].isFinite {
      isFinite = false
    }
    return isFinite
  }
}

extension CacheType {
  /// The largest magnitude that keys and values may have; infinity for no limit.
  ///
  /// 65504 is the largest f16. In q8_0 it is the largest scale, of values up to 127.
  package var largestMagnitude: Float {
    switch self {
    case .f32: .infinity
    case .f16: 65504
    case .q8_0: 65504 * 127
    }
  }
}

extension Program {
  /// Returns the layer that an op belongs to; nil for ops before the first layer, after the last,
  /// or for all layers.
  package func layer(of op: Op) -> Int? {
    let (read, written) = op.cacheOperands
    if let cache = read ?? written { return self[cache].layer }
    // Canonical names begin with `layers.N.`.
    let parts = op.weights.first?.name.split(separator: ".") ?? []
    return parts.count > 2 && parts[0] == "layers" ? Int(parts[1]) : nil
  }

  /// Returns the rows of a weight that an op reads in a step: all of them, or in a table those that
  /// are looked up.
  package func rowsRead(_ weight: WeightRef, by op: Op, in batch: Batch) -> [Int] {
    let table: WeightRef? =
      switch op {
      case .embed(let op): op.table
      case .perLayerInputs(let op): op.table
      default: nil
      }
    guard weight == table else { return Array(0..<weight.rows.count) }
    // A token beyond the table uses row 0.
    return Set(batch.rows.map { weight.rows.contains(Int($0.token)) ? Int($0.token) : 0 }).sorted()
  }
}
