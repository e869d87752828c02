// One stage at work: takes a step with its activations, runs the executable, and says what goes on:
// to the next stage, or back to the coordinator with what TokenDrawer.swift makes of the logits. No
// socket, no thread.

package import Compute
package import Gemma
internal import Platform
package import Wire

/// The result of a step.
package enum StepOutcome: Sendable {
  /// For the next stage.
  case handOff(Step, payloads: [[Float]])
  /// For the coordinator; the payload holds logits of the rows that asked for them.
  case done(StepDone, payloads: [[Float]])
  /// For the coordinator: the results of these slots' rows are infinite or NaN, with the reason.
  /// The step ends here.
  case notFinite(slots: [Int], reason: String)
}

/// The slice of the model a worker holds, ready to run.
///
/// Used by one thread at a time.
package final class Stage {
  package let epoch: UInt32
  package let runner: ProgramRunner
  private let vocabularySize: Int
  /// The rows of the vocabulary whose logits are computed here; those before come with the step.
  private let vocabulary: Range<Int>
  /// Where the inputs of products that it observes stand in the vector that goes through all stages.
  private let layout: ObservationLayout?
  /// What draws tokens, where all logits of a row are in the end: on the last stage.
  private var drawer: TokenDrawer?
  /// Of the step that came last.
  private var lastSequence: UInt64 = 0

  /// - Parameters:
  ///   - epoch: The number of the placement.
  ///   - runner: The executable with its ledger.
  ///   - vocabularySize: How many tokens the model has.
  ///   - layout: The place of each observed input; nil unless the program observes them.
  ///   - suppressed: Tokens that are never drawn.
  package init(
    epoch: UInt32,
    runner: ProgramRunner,
    vocabularySize: Int,
    layout: ObservationLayout? = nil,
    suppressed: [Int32] = []
  ) {
    self.layout = layout
    self.epoch = epoch
    self.runner = runner
    self.vocabularySize = vocabularySize
    vocabulary = runner.program.vocabulary
    if vocabulary.upperBound == vocabularySize {
      drawer = TokenDrawer(
        vocabularySize: vocabularySize,
        slots: runner.limits.slots,
        suppressed: suppressed
      )
    }
  }

  private var slots: Range<Int> { 0..<runner.limits.slots }

  /// Returns why a step must be dropped silently; nil if this stage must run it.
  ///
  /// A step of another epoch was sent before this one began. A step that was run before is a copy,
  /// and the slots that it clears may be in use again.
  package func reasonToDrop(_ step: Step) -> String? {
    if step.epoch != epoch {
      return "the step is of epoch \(step.epoch), but this stage is of epoch \(epoch)"
    }
    if step.sequence <= lastSequence {
      return "step \(step.sequence) has come after step \(lastSequence)"
    }
    return nil
  }

  /// Runs one step.
  ///
  /// - Parameters:
  ///   - step: Its rows, the slots to forget first, and the prefixes to take over then.
  ///   - payloads: The program's inputs, in its order, and the logits of the stages before.
  ///   - now: A clock, for the time the stage adds to the step.
  /// - Returns: What to send on.
  /// - Throws: `WorkerError` with code `step`; the stage is as if the step had not come, but for the
  ///   slots cleared and the prefixes taken over.
  package func run(
    _ step: Step,
    payloads: [[Float]],
    now: () -> ContinuousClock.Instant = { .now }
  ) throws(WorkerError) -> StepOutcome {
    let began = now()
    lastSequence = max(lastSequence, step.sequence)
    let batch = try check(step)
    try checkFinite(payloads)
    var payloads = payloads
    var observed = try takeObserved(step, from: &payloads)
    let (inputs, before) = try divide(payloads, of: batch)
    for slot in step.cleared {
      runner.clear(slot: slot)
      drawer?.clear(slot: slot)
    }
    for fork in step.forks { try take(fork) }
    var outputs: [[Float]]
    do {
      outputs = try runner.run(batch, inputs: inputs)
    } catch {
      throw WorkerError(
        .step,
        "step \(step.sequence) failed",
        context: "epoch \(epoch)",
        underlying: error
      )
    }
    if let failure = nonFinite(outputs, of: batch, inputs: inputs) { return failure }
    if var sums = observed {
      layout?.add(runner.executable.observedInputs, to: &sums)
      observed = sums
    }
    let logits = vocabulary.isEmpty ? [] : append(outputs.removeLast(), to: before, of: batch)
    if let (results, chosen) = drawer?.draw(step.rows, logits: logits) {
      let done = StepDone(
        epoch: step.epoch,
        sequence: step.sequence,
        results: results,
        stageMicroseconds: step.stageMicroseconds + [elapsed(since: began, now())],
        stageBeganMicroseconds: step.stageBeganMicroseconds + [began.microsecondsSinceBoot]
      )
      return .done(done, payloads: (chosen.isEmpty ? [] : [chosen]) + (observed.map { [$0] } ?? []))
    }
    var next = step
    next.stageMicroseconds.append(elapsed(since: began, now()))
    next.stageBeganMicroseconds.append(began.microsecondsSinceBoot)
    if !vocabulary.isEmpty { outputs.append(logits) }
    if let observed { outputs.append(observed) }
    return .handOff(next, payloads: outputs)
  }

  private func elapsed(
    since began: ContinuousClock.Instant,
    _ end: ContinuousClock.Instant
  )
    -> UInt64
  {
    UInt64(max(0, (end - began) / .microseconds(1)))
  }

  /// Checks what the executable does not know of: the epoch, tokens, slots to clear.
  private func check(_ step: Step) throws(WorkerError) -> Batch {
    guard step.epoch == epoch else {
      throw WorkerError(
        .step,
        "the step is of epoch \(step.epoch), but this stage is of epoch \(epoch)"
      )
    }
    for slot in step.cleared where !slots.contains(slot) {
      throw WorkerError(.step, "slot \(slot) outside \(slots)")
    }
    for slot in step.forks.flatMap({ [$0.source, $0.target] }) where !slots.contains(slot) {
      throw WorkerError(.step, "slot \(slot) outside \(slots)")
    }
    for row in step.rows {
      guard (0..<vocabularySize).contains(Int(row.token)) else {
        throw WorkerError(.step, "token \(row.token) outside 0..<\(vocabularySize)")
      }
      let complaint =
        row.output.complaint(vocabularySize: vocabularySize)
        ?? row.mask?.complaint(vocabularySize: vocabularySize)
      if let complaint { throw WorkerError(.step, complaint) }
    }
    return step.batch
  }

  /// Removes the sums of what the products of the stages before were given, and returns them.
  ///
  /// At the first stage they are zero. Nil if no row asks for them.
  private func takeObserved(
    _ step: Step,
    from payloads: inout [[Float]]
  ) throws(WorkerError) -> [Float]? {
    guard step.rows.contains(where: { $0.output == .inputs }) else { return nil }
    guard let layout else {
      throw WorkerError(
        .step,
        "the inputs of products are asked for, which this worker does not observe"
      )
    }
    guard !runner.program.inputs.isEmpty else { return Array(repeating: 0, count: layout.count) }
    guard let sums = payloads.popLast(), sums.count == layout.count else {
      throw WorkerError(.step, "the last tensor is not one of \(layout.count) sums")
    }
    return sums
  }

  /// Returns what the program takes of a step's payloads, and the logits of the stages before,
  /// [wanted, vocabulary before].
  private func divide(
    _ payloads: [[Float]],
    of batch: Batch
  ) throws(WorkerError) -> (inputs: [[Float]], logits: [Float]) {
    guard vocabulary.lowerBound > 0 else { return (payloads, []) }
    let inputCount = runner.program.inputs.count
    guard payloads.count == inputCount + 1 else {
      throw WorkerError(
        .step,
        "\(payloads.count) tensors, \(inputCount) and the logits before row "
          + "\(vocabulary.lowerBound) expected"
      )
    }
    let rowCount = batch.count(of: .wanted)
    let expected = rowCount * vocabulary.lowerBound
    guard payloads[inputCount].count == expected else {
      throw WorkerError(
        .step,
        "logits of \(rowCount) rows before vocabulary row \(vocabulary.lowerBound) have "
          + "\(payloads[inputCount].count) values, \(expected) expected"
      )
    }
    return (Array(payloads[..<inputCount]), payloads[inputCount])
  }

  /// Returns the logits of this stage behind those of the stages before, row by row.
  private func append(_ own: [Float], to before: [Float], of batch: Batch) -> [Float] {
    guard vocabulary.lowerBound > 0 else { return own }
    var logits: [Float] = []
    logits.reserveCapacity(before.count + own.count)
    for row in 0..<batch.count(of: .wanted) {
      logits += before[(row * vocabulary.lowerBound)...].prefix(vocabulary.lowerBound)
      logits += own[(row * vocabulary.count)...].prefix(vocabulary.count)
    }
    return logits
  }
}

extension Step {
  /// Its rows, as an executable takes them.
  package var batch: Batch {
    Batch(
      rows: rows.map { row in
        Row(
          slot: row.slot,
          position: row.position,
          token: row.token,
          isWanted: row.output != .none
        )
      }
    )
  }
}

// MARK: - Prefixes and epochs

extension Stage {
  /// Makes a slot begin with positions that another one, or itself, holds.
  private func take(_ fork: Fork) throws(WorkerError) {
    do throws(ComputeError) {
      if fork.source != fork.target {
        try runner.copy(slot: fork.source, to: fork.target, count: fork.positionCount)
      }
      try runner.resume(slot: fork.target, at: fork.positionCount)
    } catch {
      throw WorkerError(.step, "slot \(fork.target) cannot begin with a prefix", underlying: error)
    }
    drawer?.take(fork)
  }

  /// Returns the index of the cache that holds a layer's keys and values; nil if none does.
  package func cacheIndex(ofLayer layer: Int) -> Int? {
    runner.program.caches.firstIndex { $0.layer == layer }
  }

  /// Returns all keys and values that a cache holds of a slot's first `count` positions.
  ///
  /// Of a ring that is more than the next row sees: other sessions may begin with a prefix of it.
  ///
  /// - Parameters:
  ///   - layer: One with a cache here.
  ///   - slot: The slot.
  ///   - count: Its positions.
  ///   - sent: Positions that need not be sent again, if all behind them are still there.
  /// - Returns: The rows.
  /// - Throws: `WorkerError` if there is no such slot, or it does not hold what its next row sees.
  package func export(
    layer: Int,
    slot: Int,
    count: Int,
    after sent: Int? = nil
  ) throws(WorkerError) -> CacheRows {
    guard let index = cacheIndex(ofLayer: layer) else {
      throw WorkerError(.prepare, "layer \(layer) has no keys and values here")
    }
    guard slots.contains(slot) else {
      throw WorkerError(.prepare, "slot \(slot) outside \(slots)")
    }
    let seen = runner.program.caches[index].seen(from: count)
    let held = runner.heldPositions(cache: index, slot: slot)
    var positions = min(seen.lowerBound, held.lowerBound)..<count
    // `count` may lie before all that is held: another session has followed, or the coordinator lies.
    if let sent, held.lowerBound <= sent, sent <= count { positions = sent..<count }
    do {
      return try runner.exportRows(cache: index, slot: slot, positions: positions)
    } catch {
      throw WorkerError(.prepare, "slot \(slot) cannot be moved", underlying: error)
    }
  }

  /// Puts keys and values from another worker in place.
  ///
  /// - Parameters:
  ///   - rows: Keys and values.
  ///   - slot: The slot.
  ///   - replacing: Whether they take the place of all that the cache holds of the slot.
  /// - Throws: `WorkerError` if they do not fit.
  package func take(_ rows: CacheRows, slot: Int, replacing: Bool) throws(WorkerError) {
    guard let index = cacheIndex(ofLayer: rows.layer) else {
      throw WorkerError(.prepare, "layer \(rows.layer) has no keys and values here")
    }
    do {
      try runner.importRows(rows, cache: index, slot: slot, replacing: replacing)
    } catch {
      throw WorkerError(.prepare, "slot \(slot) cannot be taken over", underlying: error)
    }
  }

  /// Lets a slot go on where it was before the epoch.
  ///
  /// - Throws: `WorkerError` if keys and values are missing.
  package func resume(_ state: SlotState) throws(WorkerError) {
    guard slots.contains(state.slot) else {
      throw WorkerError(.prepare, "slot \(state.slot) outside \(slots)")
    }
    do {
      try runner.resume(slot: state.slot, at: state.positionCount)
    } catch {
      throw WorkerError(.prepare, "slot \(state.slot) cannot go on", underlying: error)
    }
    drawer?.resume(state)
  }

  /// Forgets all slots but some.
  package func clear(except kept: Set<Int>) {
    for slot in slots where !kept.contains(slot) {
      runner.clear(slot: slot)
      drawer?.clear(slot: slot)
    }
  }
}
