// From rows of f32 to rows of a stored type, on all CPUs.

package import Compute
internal import QuantiseKernels

/// How far stored values are from those that they stand for, weighted by importance.
package struct EncodingError: Sendable, Hashable {
  /// The sum of `importance · (value - decoded)²`.
  package var squaredError = 0.0
  /// The sum of `importance · value²`.
  package var squares = 0.0

  /// The root of the mean squared error, as a share of the values' root mean square.
  package var relative: Double { squares > 0 ? (squaredError / squares).squareRoot() : 0 }

  static func + (one: EncodingError, other: EncodingError) -> EncodingError {
    EncodingError(
      squaredError: one.squaredError + other.squaredError,
      squares: one.squares + other.squares
    )
  }

  static func += (sum: inout EncodingError, error: EncodingError) { sum = sum + error }
}

/// Encodes rows of weights.
package struct RowEncoder: Sendable {
  package var type: TensorType
  package var columns: Int
  /// How much an error in a column costs: the mean square of what it is multiplied with; nil if all cost the same.
  package var importance: [Float]?  // [columns]
  /// How many threads encode.
  package var threads: Int

  package init(_ type: TensorType, columns: Int, importance: [Float]?, threads: Int) {
    precondition(importance.map { $0.count == columns } ?? true, "importance of other columns")
    self.type = type
    self.columns = columns
    self.importance = importance
    self.threads = threads
  }

  /// Rows as they are stored, and what that costs.
  package struct Encoded: Sendable {
    package var bytes: [UInt8]
    package var error: EncodingError
  }

  /// Encodes rows; the result does not depend on how many threads there are.
  ///
  /// - Parameters:
  ///   - values: Whole rows of `columns` values each.
  ///   - name: Their tensor, for errors.
  /// - Returns: The rows as they are stored.
  /// - Throws: `QuantizationError.values` if one is infinite or NaN, or too large for the type.
  /// - Precondition: The type's blocks divide a row.
  package func encode(_ values: [Float], of name: String) throws(QuantizationError) -> Encoded {
    guard let rowByteCount = type.byteCount(columns: columns), columns > 0,
      values.count.isMultiple(of: columns)
    else { preconditionFailure("\(values.count) values in rows of \(columns) as \(type)") }
    let rowCount = values.count / columns
    // Errors are added in the order of the rows, so that the sum is the same however they are divided.
    let shareCount = min(rowCount, max(1, threads * 4))
    var errors = Array(repeating: 0.0, count: rowCount)
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: rowCount * rowByteCount) {
      output,
      count in
      unsafe errors.withUnsafeMutableBufferPointer { errors in
        let result = unsafe SharedRows(bytes: output, errors: errors)
        concurrently(shareCount, threads: threads) { share in
          for row in (rowCount * share / shareCount)..<(rowCount * (share + 1) / shareCount) {
            unsafe result.errors[row] = encodeRow(row, of: values, into: result.bytes, rowByteCount)
          }
        }
      }
      count = rowCount * rowByteCount
    }
    let sum = errors.reduce(0, +)
    guard sum.isFinite else { throw fault(values, name, isTooLarge: sum == .infinity) }
    return Encoded(
      bytes: bytes,
      error: EncodingError(squaredError: sum, squares: squares(of: values))
    )
  }

  /// Returns the sum of `importance · value²`.
  private func squares(of values: [Float]) -> Double {
    stride(from: 0, to: values.count, by: columns).reduce(0) { sum, first in
      // Eight sums, because one would wait for each addition.
      var squares = SIMD8<Double>()
      var column = 0
      while column < columns {
        var (value, weight) = (SIMD8<Float>(), SIMD8<Float>(repeating: 1))
        for lane in 0..<min(8, columns - column) {
          value[lane] = values[first + column + lane]
          if let importance { weight[lane] = importance[column + lane] }
        }
        let wide = SIMD8<Double>(value)
        squares += SIMD8<Double>(weight) * wide * wide
        column += 8
      }
      return sum + squares.sum()
    }
  }

  // @unchecked Sendable: each row has its own place, and one thread writes it.
  @unsafe private struct SharedRows: @unchecked Sendable {
    let bytes: UnsafeMutableBufferPointer<UInt8>
    let errors: UnsafeMutableBufferPointer<Double>
  }

  private func encodeRow(
    _ row: Int,
    of values: [Float],
    into bytes: UnsafeMutableBufferPointer<UInt8>,
    _ rowByteCount: Int
  ) -> Double {
    unsafe values.withUnsafeBufferPointer { values in
      let encode = { (importance: UnsafePointer<Float>?) in
        unsafe quantise_rows(
          Int32(type.number),
          values.baseAddress?.advanced(by: row * columns),
          1,
          Int64(columns),
          importance,
          bytes.baseAddress?.advanced(by: row * rowByteCount)
        )
      }
      guard let importance else { return encode(nil) }
      return unsafe importance.withUnsafeBufferPointer { unsafe encode($0.baseAddress) }
    }
  }

  private func fault(_ values: [Float], _ name: String, isTooLarge: Bool) -> QuantizationError {
    let index = values.firstIndex { isTooLarge ? overflows($0) : !$0.isFinite }
    guard let index else {
      return QuantizationError(.values, "an importance is negative or no number", context: name)
    }
    let value = values[index].isNaN ? "NaN" : "\(values[index])"
    return QuantizationError(
      .values,
      "row \(index / columns), column \(index % columns) is \(value), "
        + (isTooLarge ? "too large for \(type.rawValue)" : "which cannot be quantised"),
      context: name
    )
  }

  /// Whether a value becomes infinite when it is rounded to a float type.
  private func overflows(_ value: Float) -> Bool {
    type == .f16
      ? floatToHalf(value) & 0x7FFF == 0x7C00
        // Half a step of bf16 above its largest number.
      : value.magnitude >= Float(bitPattern: 0x7F7F_8000)
  }
}

extension RowEncoder {
  /// Returns the values of encoded rows.
  package func decode(_ bytes: [UInt8]) -> [Float] {
    guard let rowByteCount = type.byteCount(columns: columns) else { return [] }
    return (0..<(bytes.count / rowByteCount)).flatMap { row in
      unsafe bytes.withUnsafeBytes { bytes in
        let row = unsafe UnsafeRawBufferPointer(
          rebasing: bytes[(row * rowByteCount)..<((row + 1) * rowByteCount)]
        )
        return unsafe Dequantize.values(row, type: type, start: 0, count: columns)
      }
    }
  }
}
