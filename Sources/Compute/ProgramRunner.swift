// An executable and the ledger of its slots as one: what whoever drives a program has in hand. A
// backend writes none of this.

/// Runs a compiled program for the sessions in its slots.
///
/// It checks what is asked before the executable or its storage sees it, and counts what has been done.
/// Used by one thread at a time, the one that its executable belongs to (see `Executable`).
package final class ProgramRunner {
  package let executable: any Executable
  package let program: Program
  package let limits: ExecutableLimits
  private let ledger: SlotLedger
  /// By cache of the program.
  private let storages: [any CacheStorage]

  /// Takes an executable, with the ledgers of those caches whose storage it has from `previous`.
  ///
  /// Of `previous`, which may run on another thread, only what never changes is read.
  ///
  /// - Parameters:
  ///   - executable: A new one, that nobody else drives.
  ///   - previous: The runner whose executable it was compiled to follow.
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

  /// Bytes of the keys and values that the caches hold of all slots.
  package var kvByteCount: Int {
    zip(ledger.caches, storages).reduce(0) { $0 + $1.0.heldCount * $1.1.positionByteCount }
  }

  /// Runs one step.
  ///
  /// - Parameters:
  ///   - batch: The rows. A slot's positions must continue where its last step ended.
  ///   - inputs: One array for each of `program.inputs`, laid out as `Buffer` says.
  /// - Returns: One array for each of `program.outputs`.
  /// - Throws: `ComputeError` with code `batch` if batch and inputs do not fit; nothing has run then.
  ///   With another code the device has failed, and the slots of the batch are empty.
  package func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]] {
    try validate(batch, inputs: inputs)
    try ledger.validateAppend(batch)
    do throws(ComputeError) {
      let outputs = try executable.run(batch, inputs: inputs)
      ledger.append(batch)
      return outputs
    } catch {
      // What a broken step has written over cannot be told.
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
        "\(inputs.count) inputs, the program takes \(program.inputs.count)"
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

  /// Runs the step that has just been run once more, op by op, and returns where its results are first
  /// no finite numbers; nil if all are finite, or the backend cannot tell.
  ///
  /// Slots are as before in the end.
  package func firstNonFinite(_ batch: Batch, inputs: [[Float]]) -> NonFinite? {
    guard var found = executable.firstNonFinite(batch, inputs: inputs) else { return nil }
    if found.cause == .result, case .attend(let op) = program.ops[found.op],
      let fault = faultOfKept(op.cache, of: batch)
    {
      found.cause = fault
    }
    return found
  }

  /// Returns why the keys and values that a cache keeps of a step's slots are none to attend to; nil
  /// if they are.
  private func faultOfKept(_ cache: CacheID, of batch: Batch) -> NonFinite.Cause? {
    let storage = storages[cache.index]
    var fault: NonFinite.Cause?
    for slot in Set(batch.rows.map(\.slot)) {
      let positions = heldPositions(cache: cache.index, slot: slot)
      guard let rows = try? storage.read(positions, slot: slot) else { continue }
      for values in [rows.keys, rows.values] where !areFinite(values) {
        // What is too large is kept as infinite, what is no number stays none.
        let isOverflow = storage.type != .f32 && values.contains { $0.isInfinite }
        if isOverflow { return .overflow(storage.type) }
        fault = .kept
      }
    }
    return fault
  }
}

// MARK: - What slots hold

extension ProgramRunner {
  /// Returns the position a slot's next row must have.
  package func positionCount(slot: Int) -> Int { ledger.positionCount(slot: slot) }

  /// Returns the positions a cache holds of a slot: all of them, or what its ring still has.
  ///
  /// `cache` is its index in `program.caches`, here and below.
  package func heldPositions(cache: Int, slot: Int) -> Range<Int> {
    ledger.heldPositions(cache: cache, slot: slot)
  }

  /// Forgets a slot's keys and values and gives their memory back.
  package func clear(slot: Int) {
    ledger.restart(slot: slot)
    for cache in storages.indices { forget(cache: cache, slot: slot) }
  }

  /// Forgets what one cache holds of a slot; the slot's position count stays until `resume`.
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

  /// Puts rows in place; the slot's position count stays until `resume`.
  ///
  /// Rows that touch or overlap the held positions join them, others replace them. Of more than a
  /// ring has room for, the last positions stay.
  ///
  /// - Parameters:
  ///   - rows: Keys and values.
  ///   - cache: The cache they are of.
  ///   - slot: The slot.
  ///   - replacing: Whether all that the cache holds of the slot is forgotten first.
  /// - Throws: `ComputeError` with code `batch` if the rows do not fit the cache; nothing has changed
  ///   then. The device's own error; the cache holds nothing of the slot then.
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

  /// Makes `count` a slot's position count, and forgets the positions from there on: to go on after
  /// imports, or back to a prefix.
  ///
  /// - Throws: `ComputeError` with code `batch` if a cache does not hold what a row at `count` sees:
  ///   all before it, or the last `window - 1` of them; nothing has changed then.
  package func resume(slot: Int, at count: Int) throws(ComputeError) {
    try ledger.validateResume(slot: slot, at: count)
    ledger.resume(slot: slot, at: count)
  }

  /// Makes `target` hold the first `count` positions of `source`, as far as its rings still have
  /// them, and nothing else; `resume` puts them to use.
  ///
  /// - Throws: `ComputeError` with code `batch` if the slots are not two, or `source` has fewer
  ///   positions. The device's own error; `target` lacks rows then, and cannot be resumed.
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
