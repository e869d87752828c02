// Products that something else multiplies: a device that takes matrices of signed bytes and gives sums of 32 bits.
//
// The CPU does everything else of a program, and also such products where a step has few rows. Sums of bytes are exact, so a
// row's results do not depend on who has multiplied it.

package import Compute

/// How a device wants the matrices of a product.
///
/// A weight is cut into strips of 64 outputs. Strips are dealt to `side` columns of the device, `passes` to each; of the depth,
/// parts are multiplied one after the other, each with sums of its own. `kernels/cpu/array_i8.h` has the order of bytes.
package struct ProductLayout: Sendable, Hashable {
  package var side: Int
  package var passes: Int
  /// Of each part of the depth, its steps of 64.
  package var partSteps: [Int]
  /// Of sums, a multiple of 8.
  package var outputs: Int

  package init(side: Int, passes: Int, partSteps: [Int], outputs: Int) {
    self.side = side
    self.passes = passes
    self.partSteps = partSteps
    self.outputs = outputs
  }

  static let step = 64

  /// The depth in whole steps: bytes from one row of activations to the next.
  var paddedDepth: Int { partSteps.reduce(0, +) * Self.step }
  /// Bytes of a weight.
  package var weightBytes: Int { paddedDepth * passes * side * Self.step }
}

/// Memory that a device and the process share.
///
/// Who writes or reads it takes care that nobody else does.
package protocol ProductMemory: AnyObject, Sendable {
  var base: UnsafeMutableRawPointer { get }
  var byteCount: Int { get }
}

/// A product of a step: sums = rows of `input` · `weight`.
package struct DeviceProduct {
  /// The weight's name, for messages.
  package var name: String
  package var depth: Int
  package var outputs: Int
  package var rowCount: Int
  /// Bytes, [rows, depth in whole steps].
  package var input: any ProductMemory
  package var weight: any ProductMemory
  /// Numbers of 32 bits, [parts of the depth, `ProductDevice.sumRows`, outputs].
  package var sums: any ProductMemory
  /// From one part's sums to the next.
  package var sumRows: Int

  package init(
    name: String,
    depth: Int,
    outputs: Int,
    rowCount: Int,
    input: any ProductMemory,
    weight: any ProductMemory,
    sums: any ProductMemory,
    sumRows: Int
  ) {
    self.name = name
    self.depth = depth
    self.outputs = outputs
    self.rowCount = rowCount
    self.input = input
    self.weight = weight
    self.sums = sums
    self.sumRows = sumRows
  }
}

/// What multiplies matrices of bytes.
///
/// All functions may be called on any thread; steps of different executables run one after the other.
package protocol ProductDevice: AnyObject, Sendable {
  /// The fewest rows for which the device multiplies; the CPU does products of fewer.
  var leastRows: Int { get }
  /// Whether a weight is for the device at all.
  func takes(outputs: Int, depth: Int) -> Bool
  /// How it wants a product.
  ///
  /// - Throws: `ComputeError` with code `unsupported`.
  func layout(depth: Int, outputs: Int) throws(ComputeError) -> ProductLayout
  /// The rows that memory for activations must have where steps have up to so many, whatever is in those behind.
  func inputRows(for rows: Int) throws(ComputeError) -> Int
  /// The rows that memory for sums must have.
  func sumRows(for rows: Int) throws(ComputeError) -> Int
  /// - Throws: `ComputeError` with code `memory`.
  func allocate(_ byteCount: Int, purpose: String) throws(ComputeError) -> any ProductMemory
  /// Makes a weight that was written visible to the device.
  ///
  /// - Throws: `ComputeError` with code `device`.
  func finish(_ weight: any ProductMemory) throws(ComputeError)
  /// Multiplies, and returns when the sums are there.
  ///
  /// - Throws: `ComputeError` with code `device` if the device has failed.
  func run(_ products: [DeviceProduct]) throws(ComputeError)
  /// Whether its sums are to be checked, for each row by one more sum.
  var checksSums: Bool { get }
  /// Is told that sums were wrong, so that the device is not used any more.
  ///
  /// - Returns: The error for the step.
  func lostByWrongSums(of product: DeviceProduct, row: Int) -> ComputeError
}
