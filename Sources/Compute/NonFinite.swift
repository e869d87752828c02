// Results that are no finite numbers: whether there are any, and where in a program they came up first.

/// Where a step's results were first no finite numbers.
package struct NonFinite: Sendable, Hashable {
  package enum Cause: Sendable, Hashable {
    /// A weight of the op holds such a value itself.
    case weight(String)
    /// Keys or values are beyond what a cache of this type can keep.
    case overflow(CacheType)
    /// Keys or values that are kept of an earlier position are no finite numbers.
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
/// It runs over everything that leaves a stage, logits included, so it is three operations for a
/// vector: added to an exponent of all ones, one in its lowest place carries into the sign's.
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
  /// The largest magnitude that a row of keys or values may have; infinite for none.
  ///
  /// 65504 is the largest f16; in q8_0 it is the scale of 127.
  package var largestMagnitude: Float {
    switch self {
    case .f32: .infinity
    case .f16: 65504
    case .q8_0: 65504 * 127
    }
  }
}

extension Program {
  /// The layer that an op belongs to; nil for those before the first, behind the last, or of all.
  package func layer(of op: Op) -> Int? {
    let (read, written) = op.cacheOperands
    if let cache = read ?? written { return self[cache].layer }
    // Canonical names are `layers.N.` and the layer's own name.
    let parts = op.weights.first?.name.split(separator: ".") ?? []
    return parts.count > 2 && parts[0] == "layers" ? Int(parts[1]) : nil
  }

  /// Returns the rows of a weight that an op reads in a step: all of them, or those looked up.
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
