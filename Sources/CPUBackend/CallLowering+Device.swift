// Calls of products that a device multiplies: activations to bytes, the product, sums to numbers.

internal import CPUKernels
internal import Compute

extension CallLowering {
  /// Adds a product for the device, and says whether it is one for it.
  ///
  /// The call of the product itself is the CPU's kernel, which gives the same sums: it runs where a step has few rows.
  mutating func emitDeviceProduct(
    _ weight: WeightRef,
    _ input: RowPlane,
    into output: RowPlane
  ) throws(ComputeError) -> Bool {
    guard let operands = deviceOperands, input.rows == .all,
      operands.device.takes(outputs: weight.rows.count, depth: weight.columns)
    else { return false }
    let prepared = try weights.onDevice(weight, operands.device)
    let quants = try operands.quants(of: input, prepared.layout)
    if quantisedRows.insert(input.region).inserted {
      // A rotated row of whole vectors.
      scratchByteCount = max(scratchByteCount, (input.width + 15) / 16 * 64)
      unsafe emit(
        kernels.pointee.quantise_rows,
        cpu_quantise_rows_args(input: input.operand, output: quants.operand),
        reads: [input.region],
        writes: [input.region.rowQuantised],
        split: .rows(input.rows)
      )
    }
    try emitDeviceProduct(weight, prepared, quants, input, into: output, operands)
    return true
  }

  /// Adds the product of bytes, and the call that makes numbers of its sums.
  private mutating func emitDeviceProduct(
    _ weight: WeightRef,
    _ prepared: DeviceWeight,
    _ quants: DeviceOperands.Quants,
    _ input: RowPlane,
    into output: RowPlane,
    _ operands: DeviceOperands
  ) throws(ComputeError) {
    let layout = prepared.layout
    let sums = try operands.sums(of: output, layout)
    let numbers = unsafe sums.base.assumingMemoryBound(to: Int32.self)
    let part = Int64(operands.sumRows * layout.outputs)
    let flag = unsafe operands.flag()
    unsafe emit(
      kernels.pointee.multiply_array,
      cpu_multiply_array_args(
        weight: prepared.operand,
        input: quants.operand,
        sums: numbers,
        sums_pitch: Int64(layout.outputs),
        sums_part: part,
        row_set: input.rows.identifier
      ),
      wholeReads: [input.region.rowQuantised],
      writes: [output.region.sums],
      split: .other,
      product: PlannedProduct(
        product: DeviceProduct(
          name: weight.name,
          depth: weight.columns,
          outputs: weight.rows.count,
          rowCount: 0,
          input: quants.memory,
          weight: prepared.memory,
          sums: sums,
          sumRows: operands.sumRows
        ),
        flag: flag
      )
    )
    let scale = unsafe cpu_scale_sums_args(
      sums: numbers,
      sums_pitch: Int64(layout.outputs),
      sums_part: part,
      part_count: Int64(layout.partSteps.count),
      input: quants.operand,
      scales: prepared.scales.base,
      checks: prepared.checks,
      depth: Int64(weight.columns),
      output: output.operand,
      softcap: 0,
      wrong: flag
    )
    unsafe emit(
      kernels.pointee.scale_sums,
      scale,
      wholeReads: [output.region.sums, input.region.rowQuantised],
      writes: [output.region],
      split: .rows(output.rows)
    )
  }
}

/// A product for the device, as it is planned: only its rows are not known.
@safe struct PlannedProduct {
  var product: DeviceProduct
  /// Where the kernel notes a row whose sums are wrong, counted from one.
  var flag: UnsafeMutablePointer<Int32>
}
