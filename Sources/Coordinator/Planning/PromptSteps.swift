// The steps in which prompts that start together are read, and how long a placement takes for them.
//
// K steps follow each other closely. The last one ends
//   way + max(a stage's or a link's work on the others, their ways / stages, the bytes they read / bandwidth)
// after the first began: `way` is its own through all stages, and the others are as many as there are stages
// in flight.

internal import Compute

/// The division of prompts into steps.
struct PromptSteps {
  /// How many there are, and how many of them end prompts.
  let count: Int
  let endCount: Int
  /// A step in the middle of prompts, and one with ends of prompts.
  let middle: StepSize
  let end: StepSize

  /// Divides prompts as `Scheduler` does where nobody reads along.
  ///
  /// The steps have as many rows as they may have, or there is one for each stage if the prompts are short.
  /// Here they all get the same number of rows.
  init(streams: Int, tokens: Int, maxRows: Int, stageCount: Int) {
    let total = streams * tokens
    let most = max(1, maxRows)
    count = max((total + most - 1) / most, min(stageCount, streams))
    endCount = min(streams, count)
    let rows = (total + count - 1) / count
    middle = .prompt(rows)
    // Each prompt has one row whose output is wanted.
    end = StepSize(rows: rows, wanted: min(rows, (streams + endCount - 1) / endCount))
  }

  /// Returns the sum of a value over all steps but the last.
  func sumBeforeLast(_ value: (StepSize) -> Double) -> Double {
    (count > endCount ? Double(count - endCount) * value(middle) : 0)
      + (endCount > 1 ? Double(endCount - 1) * value(end) : 0)
  }
}

/// The predicted speed of a placement with prompts.
package struct PromptPrediction: Sendable, Hashable {
  /// From the first step of all streams' prompts to the last one's first token.
  package var microseconds: Double
  /// Of all streams together.
  package var tokensPerSecond: Double
  /// The time from a request to its first token, if it is alone.
  package var firstTokenMicroseconds: Double
  /// The time of a step in the middle of prompts, by stage.
  package var stageMicroseconds: [Double]
  /// The time that such a step spends on links.
  package var linkMicroseconds: Double
  package var limit: PlanLimit
}

extension Planner {
  /// Returns how prompts are divided for so many stages.
  func promptSteps(streams: Int, tokens: Int, stageCount: Int) -> PromptSteps {
    PromptSteps(streams: streams, tokens: tokens, maxRows: limits.maxRows, stageCount: stageCount)
  }

  /// Returns how fast a placement is predicted to read prompts of so many tokens.
  func prompts(_ stages: [StageSpan], streams: Int, tokens: Int) -> PromptPrediction {
    let steps = promptSteps(streams: streams, tokens: tokens, stageCount: stages.count)
    let one = promptSteps(streams: 1, tokens: tokens, stageCount: stages.count)
    let (time, limit) = time(of: steps, stages)
    return PromptPrediction(
      microseconds: time,
      tokensPerSecond: Double(streams * tokens) / max(time, 1e-3) * 1e6,
      firstTokenMicroseconds: streams == 1 ? time : self.time(of: one, stages).microseconds,
      stageMicroseconds: stages.map { costs.time(of: $0, steps.middle) },
      linkMicroseconds: linkTime(stages, steps.middle),
      limit: limit
    )
  }

  private func time(
    of steps: PromptSteps,
    _ stages: [StageSpan]
  ) -> (microseconds: Double, limit: PlanLimit) {
    let way = { (step: StepSize) in
      linkTime(stages, step) + stages.reduce(0) { $0 + costs.time(of: $1, step) }
    }
    var (before, limit) = (steps.sumBeforeLast(way) / Double(stages.count), PlanLimit.latency)
    func consider(_ time: Double, _ reason: PlanLimit) {
      // What differs in the last bits alone is the first of the reasons.
      if time > before * (1 + 1e-9) || (limit == .latency && time >= before) {
        (before, limit) = (time, reason)
      }
    }
    var bytes = Array(repeating: 0.0, count: costs.machines.count)
    for (index, stage) in stages.enumerated() {
      consider(steps.sumBeforeLast { costs.time(of: stage, $0) }, .stage(index))
      bytes[costs.machineOfDevice[stage.device]] += steps.sumBeforeLast {
        costs.readBytes(of: stage, $0)
      }
      guard index > 0 else { continue }
      let transfer = steps.sumBeforeLast {
        costs.transferTime(from: stages[index - 1], to: stage, $0)
      }
      consider(transfer, .link(to: index))
    }
    for (machine, bytes) in bytes.enumerated() {
      guard let rate = costs.machines[machine].sharedBandwidthBytesPerSecond else { continue }
      consider(bytes / rate * 1e6, .sharedMemory(machine: machine))
    }
    let last = way(steps.end)
    return (before + last, before < last ? .latency : limit)
  }

  /// Returns how long a step is on links: between the stages, and to and from the coordinator.
  func linkTime(_ stages: [StageSpan], _ step: StepSize) -> Double {
    var time = costs.messageTime(to: stages[0].device)
    time += costs.messageTime(to: stages[stages.count - 1].device)
    for (from, to) in zip(stages, stages.dropFirst()) {
      time += costs.handOffTime(from: from, to: to, step)
    }
    return time
  }
}
