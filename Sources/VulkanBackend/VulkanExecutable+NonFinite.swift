// Finds where results first contain an infinity or a NaN, by running the step again op by op and checking
// what each op has written.

internal import Compute

extension VulkanExecutable {
  func firstNonFinite(_ batch: Batch, inputs: [[Float]]) -> NonFinite? {
    // The step appends the same rows to the caches as before, at the same places.
    write(batch, inputs)
    let counts = RowCounts(all: batch.rows.count, wanted: batch.wantedRows.count)
    for (index, op) in program.ops.enumerated() {
      do {
        if case .appendKV(let append) = op, let fault = try overflow(append, batch) {
          return NonFinite(op: index, cause: fault)
        }
        try unsafe recorder.run(op: index, counts) { (commands) throws(ComputeError) in
          try unsafe submit([commands])
        }
        guard try !hasWrittenFinite(op, batch) else { continue }
      } catch {
        // The device is lost; the step says so, too.
        return nil
      }
      return NonFinite(op: index, cause: cause(op, batch))
    }
    return nil
  }

  /// Returns an overflow if keys or values that are about to be stored are too large for the
  /// cache's type.
  private func overflow(
    _ op: AppendKV,
    _ batch: Batch
  ) throws(ComputeError) -> NonFinite.Cause? {
    let type = storages[op.cache.index].type
    for id in [op.keys, op.values] {
      let values = try values(Plane(id), batch)
      if values.contains(where: { abs($0) > type.largestMagnitude && $0.isFinite }) {
        return .overflow(type)
      }
    }
    return nil
  }

  private func hasWrittenFinite(_ op: Op, _ batch: Batch) throws(ComputeError) -> Bool {
    for id in op.operands.writes {
      for plane in 0..<program[id].planes {
        guard areFinite(try values(Plane(id, plane), batch)) else { return false }
      }
    }
    return true
  }

  private func cause(_ op: Op, _ batch: Batch) -> NonFinite.Cause {
    for weight in op.weights {
      let rows = program.rowsRead(weight, by: op, in: batch)
      let isFinite = rows.allSatisfy { row in
        areFinite(weights.row(of: weight, row, columns: 0..<weight.columns))
      }
      if !isFinite { return .weight(weight.name) }
    }
    return .result
  }
}
