// The memory of products that a device multiplies: bytes of activations, sums, and flags of rows that were wrong.

internal import CPUKernels
internal import Compute

/// What calls of such products point to, except weights.
@safe final class DeviceOperands {
  let device: any ProductDevice
  private let maxRows: Int
  private let inputRows: Int
  let sumRows: Int
  private var inputs: [Region: Input] = [:]
  private var sums: [Region: any ProductMemory] = [:]
  /// For each product, the row that was wrong, counted from one.
  private var flags: [UnsafeMutablePointer<Int32>] = unsafe []

  private struct Input {
    var quants: any ProductMemory
    var scales: MappedMemory
  }

  /// A plane as bytes.
  @safe struct Quants {
    var memory: any ProductMemory
    var operand: cpu_row_quants
  }

  init(_ device: any ProductDevice, maxRows: Int) throws(ComputeError) {
    self.device = device
    self.maxRows = maxRows
    inputRows = try device.inputRows(for: maxRows)
    sumRows = try device.sumRows(for: maxRows)
  }

  deinit {
    unsafe flags.forEach { unsafe $0.deallocate() }
  }

  /// Returns the memory of a plane's bytes.
  func quants(of plane: RowPlane, _ layout: ProductLayout) throws(ComputeError) -> Quants {
    let pitch = layout.paddedDepth
    if inputs[plane.region] == nil {
      let purpose = "bytes of activations"
      inputs[plane.region] = Input(
        quants: try device.allocate(
          product(inputRows, pitch, purpose: purpose),
          purpose: purpose
        ),
        scales: try MappedMemory(
          byteCount: product(maxRows, MemoryLayout<Float>.stride, purpose: purpose),
          purpose: purpose
        )
      )
    }
    guard let input = inputs[plane.region] else {
      preconditionFailure("\(plane.region) was just added")
    }
    return unsafe Quants(
      memory: input.quants,
      operand: cpu_row_quants(
        quants: input.quants.base.assumingMemoryBound(to: Int8.self),
        scales: input.scales.base.assumingMemoryBound(to: Float.self),
        pitch: Int64(pitch)
      )
    )
  }

  /// Returns the memory of the sums that become a plane.
  func sums(
    of plane: RowPlane,
    _ layout: ProductLayout
  ) throws(ComputeError) -> any ProductMemory {
    if let known = sums[plane.region] { return known }
    let purpose = "sums of products"
    let memory = try device.allocate(
      product(
        layout.partSteps.count,
        sumRows,
        layout.outputs,
        MemoryLayout<Int32>.stride,
        purpose: purpose
      ),
      purpose: purpose
    )
    sums[plane.region] = memory
    return memory
  }

  /// Returns a flag for one more product, which is zero.
  func flag() -> UnsafeMutablePointer<Int32> {
    let flag = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
    unsafe flag.initialize(to: 0)
    unsafe flags.append(flag)
    return unsafe flag
  }
}
