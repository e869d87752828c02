// An executable together with the ledger of its slots. Code that runs programs uses this type;
// backends do not implement any of it.

/// Runs a compiled program for the sessions in its slots.
///
/// It checks every request before the executable or a storage sees it, and keeps track of what was
/// done. It is used only by the thread that owns its executable (see `Executable`).
package final class ProgramRunner {
  package let executable: any Executable
  package let program: Program
  package let limits: ExecutableLimits
  private let ledger: SlotLedger
  /// The storage of each cache of the program.
  private let storages: [any CacheStorage]

  /// Creates the runner of an executable.
  ///
  /// For caches whose storage comes from `previous`, it takes over the ledgers, too.
  ///
  /// `previous` may run on another thread, so only those parts of it that never change are read.
  ///
  /// - Parameters:
  ///   - executable: A new executable, which nobody else uses.
  ///   - previous: The runner of the executable that it was compiled with as `previous`.
  package init(_ executable: any Executable, sharing previous: ProgramRunner? = nil) {
    self.executable = executable
    program = executable.program
    limits = executable.limits
    storages = executable.storages
    precondition(
      storages.count == program.caches.count,
      "\(storages.count) storages for \(program.caches.count) caches"
    )
    let shared = storages.map { storage in
      previous?.storages.firstIndex { $0 === storage }.flatMap { previous?.ledger.caches[$0] }
    }
    ledger = SlotLedger(program.caches, limits: limits, sharing: shared)
  }

  /// Memory of the weights, in bytes.
  package var footprint: Footprint { executable.footprint }

  /// The bytes of the keys and values of all slots.
  package var kvByteCount: Int {
    zip(ledger.caches, storages).reduce(0) { $0 + $1.0.heldCount * $1.1.positionByteCount }
  }

  /// Runs one step.
  ///
  /// - Parameters:
  ///   - batch: The rows. A slot's positions must continue where its last step ended.
  ///   - inputs: One array for each of `program.inputs`, laid out as `Buffer` says.
  /// - Returns: One array for each of `program.outputs`.
  /// - Throws: `ComputeError` with code `batch` if batch and inputs do not fit; then nothing has
  ///   run.
  ///   With another code the device has failed, and the slots of the batch are empty.
  package func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]] {
    try validate(batch, inputs: inputs)
    try ledger.validateAppend(batch)
    do throws(ComputeError) {
      let outputs = try executable.run(batch, inputs: inputs)
      ledger.append(batch)
      return outputs
    } catch {
      // It is unknown which rows a failed step has overwritten, so the slots are cleared.
      if error.code != .batch { batch.forEachSlot { slot, _ in clear(slot: slot) } }
      throw error
    }
  }

  /// Checks a batch and its inputs against the program and the limits.
  private func validate(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) {
    try batch.validate(limits: limits)
    guard inputs.count == program.inputs.count else {
      throw ComputeError(
        .batch,
        "\(inputs.count) inputs, but the program has \(program.inputs.count)"
      )
    }
    for (id, input) in zip(program.inputs, inputs) {
      let expected = program[id].elementCount(in: batch)
      guard input.count == expected else {
        throw ComputeError(
          .batch,
          "input \(program[id].name) has \(input.count) values, \(expected) expected"
        )
      }
    }
  }

  /// Runs the last step again, op by op, and returns where its results first contain an infinity or
  /// a NaN; nil if all are finite, or if the backend cannot find the place.
  ///
  /// The slots are the same afterwards.
  package func firstNonFinite(_ batch: Batch, inputs: [[Float]]) -> NonFinite? {
    guard var found = executable.firstNonFinite(batch, inputs: inputs) else { return nil }
    if found.cause == .result, case .attend(let op) = program.ops[found.op],
      let fault = faultOfKept(op.cache, of: batch)
    {
      found.cause = fault
    }
    return found
  }

  /// Returns why attention over the cached keys and values of a step's slots cannot be finite; nil
  /// if they are finite themselves.
  private func faultOfKept(_ cache: CacheID, of batch: Batch) -> NonFinite.Cause? {
    let storage = storages[cache.index]
    var fault: NonFinite.Cause?
    for slot in Set(batch.rows.map(\.slot)) {
      let positions = heldPositions(cache: cache.index, slot: slot)
      guard let rows = try? storage.read(positions, slot: slot) else { continue }
      for values in [rows.keys, rows.values] where !areFinite(values) {
        // A value that is too large for the type is stored as infinity, and a NaN stays a NaN.
        let isOverflow = storage.type != .f32 && values.contains { $0.isInfinite }
        if isOverflow { return .overflow(storage.type) }
        fault = .kept
      }
    }
    return fault
  }
}

// MARK: - The contents of slots

extension ProgramRunner {
  /// Returns the position that a slot's next row must have.
  package func positionCount(slot: Int) -> Int { ledger.positionCount(slot: slot) }

  /// Returns the positions of a slot that a cache holds: all of them, or those that its ring has
  /// not overwritten.
  ///
  /// `cache` is the index in `program.caches`, here and below.
  package func heldPositions(cache: Int, slot: Int) -> Range<Int> {
    ledger.heldPositions(cache: cache, slot: slot)
  }

  /// Forgets a slot's keys and values and releases their memory.
  package func clear(slot: Int) {
    ledger.restart(slot: slot)
    for cache in storages.indices { forget(cache: cache, slot: slot) }
  }

  /// Forgets what one cache holds of a slot; the slot's position count does not change until
  /// `resume`.
  package func forget(cache: Int, slot: Int) {
    if ledger.forget(cache: cache, slot: slot) { storages[cache].discard(slot: slot) }
  }

  /// Returns keys and values that a cache holds of a slot.
  ///
  /// - Throws: `ComputeError` with code `batch` if it does not hold all of `positions`; the device's
  ///   own error.
  package func exportRows(
    cache: Int,
    slot: Int,
    positions: Range<Int>
  ) throws(ComputeError) -> CacheRows {
    try ledger.validateExport(cache: cache, slot: slot, positions: positions)
    let (keys, values) = try storages[cache].read(positions, slot: slot)
    return CacheRows(
      layer: program.caches[cache].layer,
      positions: positions,
      keys: keys,
      values: values
    )
  }

  /// Stores rows; the slot's position count does not change until `resume`.
  ///
  /// Rows that touch or overlap the held positions extend them, others replace them. If there are
  /// more than a ring has room for, the last positions are kept.
  ///
  /// - Parameters:
  ///   - rows: Keys and values.
  ///   - cache: The cache to store them in.
  ///   - slot: The slot.
  ///   - replacing: Whether to forget first what the cache holds of the slot.
  /// - Throws: `ComputeError` with code `batch` if the rows do not fit the cache; then nothing has
  ///   changed. The device's own error; then the cache holds nothing of the slot.
  package func importRows(
    _ rows: CacheRows,
    cache: Int,
    slot: Int,
    replacing: Bool = false
  ) throws(ComputeError) {
    try ledger.validateImport(rows, cache: cache, slot: slot)
    if replacing { forget(cache: cache, slot: slot) }
    let positions = ledger.put(rows.positions, cache: cache, slot: slot)
    guard !positions.isEmpty else { return }
    do throws(ComputeError) {
      let width = program.caches[cache].width
      try storages[cache].write(rows.rows(at: positions, width: width), slot: slot)
    } catch {
      forget(cache: cache, slot: slot)
      throw error
    }
  }

  /// Sets a slot's position count and forgets the positions from there on: to continue after
  /// imports, or to cut the slot back to a prefix.
  ///
  /// - Throws: `ComputeError` with code `batch` if a cache lacks positions that a row at `count`
  ///   sees: all before it, or the last `window - 1` of them. Then nothing has changed.
  package func resume(slot: Int, at count: Int) throws(ComputeError) {
    try ledger.validateResume(slot: slot, at: count)
    ledger.resume(slot: slot, at: count)
  }

  /// Replaces the contents of `target` by the first `count` positions of `source`.
  ///
  /// Only those positions are copied that the rings of `source` still hold. After `resume`, the
  /// target continues from them.
  ///
  /// - Throws: `ComputeError` with code `batch` if the slots are the same, or `source` has fewer
  ///   positions. The device's own error; then `target` lacks rows and cannot be resumed.
  package func copy(slot source: Int, to target: Int, count: Int) throws(ComputeError) {
    try ledger.validateCopy(slot: source, to: target, count: count)
    for cache in storages.indices {
      forget(cache: cache, slot: target)
      let positions = ledger.heldPositions(cache: cache, slot: source, upTo: count)
      guard !positions.isEmpty else { continue }
      let room = ledger.put(positions, cache: cache, slot: target)
      precondition(room == positions, "\(positions) copied to an empty slot, room for \(room)")
      do throws(ComputeError) {
        try storages[cache].copy(positions, from: source, to: target)
      } catch {
        forget(cache: cache, slot: target)
        throw error
      }
    }
  }
}
