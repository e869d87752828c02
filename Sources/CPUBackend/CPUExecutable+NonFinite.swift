// Finds where results first contain an infinity or a NaN, by running the step again call by call
// and checking what each call has written.

internal import CPUKernels
internal import Compute

extension CPUExecutable {
  func firstNonFinite(_ batch: Batch, inputs: [[Float]]) -> NonFinite? {
    // The step appends the same rows to the caches as before, at the same places.
    guard (try? put(inputs)) != nil else { return nil }
    fillRows(batch)
    for (index, trace) in traces.enumerated() {
      let op = program.ops[trace.op]
      if case .appendKV(let append) = op, let fault = overflow(append, batch) {
        return NonFinite(op: trace.op, cause: fault)
      }
      runCalls(index..<index + 1)
      if !hasWrittenFinite(trace, batch) {
        return NonFinite(op: trace.op, cause: cause(op, batch))
      }
    }
    return nil
  }

  /// Returns an overflow if keys or values that are about to be stored are too large for the
  /// cache's type.
  private func overflow(_ op: AppendKV, _ batch: Batch) -> NonFinite.Cause? {
    let type = storages[op.cache.index].type
    let largest = type.largestMagnitude
    for id in [op.keys, op.values] {
      let values = values(id, batch)
      if values.contains(where: { abs($0) > largest && $0.isFinite }) { return .overflow(type) }
    }
    return nil
  }

  /// Returns whether a call has written finite values only.
  ///
  /// Only buffers are checked, because all other regions are internal to an op.
  private func hasWrittenFinite(_ trace: CallTrace, _ batch: Batch) -> Bool {
    trace.writes.allSatisfy { region in
      guard region.space == .buffer, region.view == .values else { return true }
      return areFinite(values(BufferID(index: region.index), plane: region.part, batch))
    }
  }

  private func values(_ id: BufferID, plane: Int? = nil, _ batch: Batch) -> [Float] {
    let buffer = program[id]
    let all = (try? take(id, count: buffer.elementCount(in: batch))) ?? []
    guard let plane else { return all }
    let count = all.count / buffer.planes
    return Array(all[(plane * count)..<((plane + 1) * count)])
  }

  private func cause(_ op: Op, _ batch: Batch) -> NonFinite.Cause {
    for weight in op.weights {
      let rows = program.rowsRead(weight, by: op, in: batch)
      if !weights.areFinite(weight, rows: rows) { return .weight(weight.name) }
    }
    return .result
  }
}

extension CPUWeights {
  /// Returns whether rows of a loaded weight contain finite values only in the model file.
  func areFinite(_ weight: WeightRef, rows: [Int]) -> Bool {
    rows.allSatisfy { Compute.areFinite(row($0, of: weight)) }
  }
}
