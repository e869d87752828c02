// The error that a device's own arithmetic adds to weights, whatever their type.

/// An NPU's grid: each row is rotated and rounded to int8 with one scale (decision 43).
package struct DeviceGrid: Sendable {
  package init() {}

  /// Returns the squared error of rounding rows, weighted by importance.
  ///
  /// A rotation spreads the error of a row evenly over its columns: the mean of `step² / 12` of uniform rounding in
  /// each. The step is by the largest value of the rotated row.
  package func squaredError(of values: [Float], columns: Int, importance: [Float]?) -> Double {
    let weight = importance.map { $0.reduce(0.0) { $0 + Double($1) } } ?? Double(columns)
    return stride(from: 0, to: values.count, by: columns).reduce(0.0) { sum, first in
      let rotated = Self.rotated(values[first..<(first + columns)])
      let largest = Double(rotated.lazy.map(abs).max() ?? 0)
      let step = largest / 127
      return sum + step * step / 12 * weight
    }
  }

  /// Returns a row under Hadamard's rotation, in blocks of the largest power of two up to 256 that divides it
  /// (`hadamard_length` of kernels/cpu/hadamard.h).
  private static func rotated(_ row: ArraySlice<Float>) -> [Float] {
    var values = Array(row)
    let block = min(256, values.count & -values.count)
    var half = 1
    while half < block {
      for first in stride(from: 0, to: values.count, by: 2 * half) {
        for index in first..<(first + half) {
          let (a, b) = (values[index], values[index + half])
          (values[index], values[index + half]) = (a + b, a - b)
        }
      }
      half *= 2
    }
    let scale = 1 / Float(block).squareRoot()
    return values.map { $0 * scale }
  }
}
