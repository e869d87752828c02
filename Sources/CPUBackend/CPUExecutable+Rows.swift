// What slots hold: forgetting it, taking it out, putting it in, going on from it.

internal import CPUKernels
internal import Compute

extension CPUExecutable {
  func clear(slot: Int) {
    precondition((0..<limits.slots).contains(slot), "slot \(slot) outside 0..<\(limits.slots)")
    caches.clear(slot: slot)
  }

  func positionCount(slot: Int) -> Int { caches.nextPositions[slot] }

  func heldPositions(cache: Int, slot: Int) -> Range<Int> { caches[cache].held(slot: slot) }

  func exportRows(
    cache: Int,
    slot: Int,
    positions: Range<Int>
  ) throws(ComputeError) -> CacheRows {
    try validateExport(cache: cache, slot: slot, positions: positions)
    let source = caches[cache]
    return unsafe CacheRows(
      layer: source.shape.layer,
      positions: positions,
      keys: source.decode(.keys, slot, positions, kernels),
      values: source.decode(.values, slot, positions, kernels)
    )
  }

  func importRows(_ rows: CacheRows, cache: Int, slot: Int) throws(ComputeError) {
    try validateImport(rows, cache: cache, slot: slot)
    let target = caches[cache]
    let positions = target.put(rows.positions, slot: slot)
    guard !positions.isEmpty else { return }
    let skipped = (positions.lowerBound - rows.positions.lowerBound) * target.shape.width
    let places = positions.map { cpu_row(slot: Int32(slot), position: Int32($0), token: 0) }
    // The kernel that keeps a step's own rows, so that these are kept the same way. It only reads
    // from the planes.
    unsafe rows.keys.withUnsafeBufferPointer { keys in
      unsafe rows.values.withUnsafeBufferPointer { values in
        unsafe places.withUnsafeBufferPointer { places in
          unsafe append(
            cpu_append_args(
              keys: target.plane(of: keys, skipping: skipped),
              values: target.plane(of: values, skipping: skipped),
              cache: target.operand
            ),
            places
          )
        }
      }
    }
  }

  func forget(cache: Int, slot: Int) {
    precondition((0..<limits.slots).contains(slot), "slot \(slot) outside 0..<\(limits.slots)")
    caches[cache].clear(slot: slot)
  }

  private func append(_ arguments: cpu_append_args, _ places: UnsafeBufferPointer<cpu_row>) {
    var step = unsafe cpu_step()
    unsafe step.rows.0 = places.baseAddress
    unsafe step.counts.0 = Int32(places.count)
    unsafe withUnsafePointer(to: arguments) { arguments in
      let call = unsafe cpu_call(run: kernels.pointee.append, args: arguments, waits: false)
      unsafe withUnsafePointer(to: call) {
        unsafe pool.run(UnsafeBufferPointer(start: $0, count: 1), &step)
      }
    }
  }

  func resume(slot: Int, at count: Int) throws(ComputeError) {
    try validateResume(slot: slot, at: count)
    caches.resume(slot: slot, at: count)
  }

  func copy(slot source: Int, to target: Int, count: Int) throws(ComputeError) {
    try validateCopy(slot: source, to: target, count: count)
    caches.copy(slot: source, to: target, count: count)
  }
}
