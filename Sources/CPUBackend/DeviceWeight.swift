// A weight as a device multiplies it: bytes with a scale for each output, rounded once.

internal import CPUKernels
internal import Compute

/// A weight in a device's memory; executables that share the weight share it.
@safe final class DeviceWeight {
  let layout: ProductLayout
  let memory: any ProductMemory
  /// The scale of each output.
  let scales: DecodedValues
  /// The sum over the outputs of each row of the depth, which shows whether sums are right.
  let checks: UnsafeMutablePointer<Int32>
  private let partSteps: UnsafeMutablePointer<Int64>

  init(
    _ layout: ProductLayout,
    outputs: Int,
    on device: any ProductDevice,
    name: String
  ) throws(ComputeError) {
    self.layout = layout
    memory = try device.allocate(layout.weightBytes, purpose: "bytes of \(name)")
    scales = DecodedValues(count: outputs)
    unsafe checks = .allocate(capacity: layout.paddedDepth)
    unsafe checks.initialize(repeating: 0, count: layout.paddedDepth)
    unsafe partSteps = .allocate(capacity: layout.partSteps.count)
    for (index, steps) in layout.partSteps.enumerated() {
      unsafe (partSteps + index).initialize(to: Int64(steps))
    }
  }

  deinit {
    unsafe checks.deallocate()
    unsafe partSteps.deallocate()
  }

  var byteCount: Int { memory.byteCount + scales.byteCount + 4 * layout.paddedDepth }

  /// The weight as the CPU's kernel reads it.
  var operand: cpu_array_weight {
    unsafe cpu_array_weight(
      packed: memory.base.assumingMemoryBound(to: Int8.self),
      columns: Int64(layout.outputs),
      passes: Int64(layout.passes),
      side: Int64(layout.side),
      part_count: Int64(layout.partSteps.count),
      part_steps: UnsafePointer(partSteps)
    )
  }

  /// What the kernel needs that rounds it.
  func packing(of source: cpu_matrix) -> cpu_pack_array_args {
    unsafe cpu_pack_array_args(
      source: source,
      packed: memory.base.assumingMemoryBound(to: Int8.self),
      passes: Int64(layout.passes),
      side: Int64(layout.side),
      part_count: Int64(layout.partSteps.count),
      part_steps: UnsafePointer(partSteps),
      scales: scales.values.baseAddress,
      checks: checks
    )
  }
}
