// One stage at work: takes a step with its activations, runs the executable, and says what goes on:
// to the next stage, or back to the coordinator with tokens sampled. No socket, no thread.

package import Compute
internal import Gemma
package import Wire

/// What a step became.
package enum StepOutcome: Sendable {
  /// For the next stage.
  case handOff(Step, payloads: [[Float]])
  /// For the coordinator; the payload holds logits of the rows that asked for them.
  case done(StepDone, payloads: [[Float]])
}

/// The layers a worker holds, ready to run.
///
/// Used by one thread at a time.
package final class Stage {
  package let epoch: UInt32
  package let executable: any Executable
  private let vocabularySize: Int
  private let isLast: Bool
  /// Each slot's tokens so far, for the repeat penalty; kept on the last stage only.
  private var histories: [[Int32]]

  package init(epoch: UInt32, executable: any Executable, vocabularySize: Int, isLast: Bool) {
    self.epoch = epoch
    self.executable = executable
    self.vocabularySize = vocabularySize
    self.isLast = isLast
    histories = Array(repeating: [], count: executable.limits.slots)
  }

  /// Runs one step.
  ///
  /// - Parameters:
  ///   - step: Its rows and the slots to forget first.
  ///   - payloads: The program's inputs, in its order.
  ///   - now: A clock, for the time the stage adds to the step.
  /// - Returns: What to send on.
  /// - Throws: `WorkerError` with code `step`; the stage is as if the step had not come, but for the
  ///   slots cleared.
  package func run(
    _ step: Step,
    payloads: [[Float]],
    now: () -> ContinuousClock.Instant = { .now }
  ) throws(WorkerError) -> StepOutcome {
    let began = now()
    let batch = try check(step)
    for slot in step.cleared {
      executable.clear(slot: slot)
      histories[slot] = []
    }
    var outputs: [[Float]]
    do {
      outputs = try executable.run(batch, inputs: payloads)
    } catch {
      throw WorkerError(
        .step,
        "step \(step.sequence) failed",
        context: "epoch \(epoch)",
        underlying: error
      )
    }
    if isLast {
      let logits = outputs.removeFirst()
      let (results, chosen) = finish(step, batch, logits)
      let done = StepDone(
        epoch: step.epoch,
        sequence: step.sequence,
        results: results,
        stageMicroseconds: step.stageMicroseconds + [elapsed(since: began, now())]
      )
      return .done(done, payloads: chosen.isEmpty ? [] : [chosen])
    }
    var next = step
    next.stageMicroseconds.append(elapsed(since: began, now()))
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
      throw WorkerError(.step, "step of epoch \(step.epoch), this stage is of epoch \(epoch)")
    }
    for slot in step.cleared where !histories.indices.contains(slot) {
      throw WorkerError(.step, "slot \(slot) outside 0..<\(histories.count)")
    }
    for row in step.rows {
      guard (0..<vocabularySize).contains(Int(row.token)) else {
        throw WorkerError(.step, "token \(row.token) outside 0..<\(vocabularySize)")
      }
      if case .score(let target) = row.output, !(0..<vocabularySize).contains(Int(target)) {
        throw WorkerError(.step, "target \(target) outside 0..<\(vocabularySize)")
      }
    }
    let rows = step.rows.map { row in
      Row(
        slot: row.slot,
        position: row.position,
        token: row.token,
        isWanted: row.output != .none
      )
    }
    return Batch(rows: rows)
  }

  /// Turns the last stage's logits into what each row asked for.
  private func finish(
    _ step: Step,
    _ batch: Batch,
    _ logits: [Float]
  ) -> (results: [RowResult], logits: [Float]) {
    var results: [RowResult] = []
    var chosen: [Float] = []
    var wanted = 0
    for row in step.rows {
      remember(row)
      guard row.output != .none else { continue }
      let line = Array(logits[(wanted * vocabularySize)..<((wanted + 1) * vocabularySize)])
      wanted += 1
      var result = RowResult(
        slot: row.slot,
        position: row.position,
        token: 0,
        logProbability: 0
      )
      switch row.output {
      case .none: break
      case .sample(let sampling):
        result.token = Sampler.sample(
          logits: line,
          history: histories[row.slot],
          position: row.position,
          SamplingParameters(sampling)
        )
      case .logits: chosen += line
      case .score(let target):
        result.token = target
        result.logProbability = Sampler.logProbability(of: target, logits: line)
      }
      results.append(result)
    }
    return (results, chosen)
  }

  private func remember(_ row: StepRow) {
    // A session that is replayed comes with its positions again.
    histories[row.slot].removeLast(max(0, histories[row.slot].count - row.position))
    histories[row.slot].append(row.token)
  }
}

extension SamplingParameters {
  /// Takes the numbers off the wire.
  init(_ sampling: Sampling) {
    self.init(
      temperature: sampling.temperature,
      topK: sampling.topK,
      topP: sampling.topP,
      minP: sampling.minP,
      repeatPenalty: sampling.repeatPenalty,
      repeatWindow: sampling.repeatWindow,
      seed: sampling.seed
    )
  }
}
