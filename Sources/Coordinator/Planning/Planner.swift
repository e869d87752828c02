// Finds the fastest placement by exact dynamic programming over contiguous slices of the model
// (layers, then parts of the vocabulary) and ordered subsets of devices.
//
// N streams run as M micro-batches. M is the fastest of the numbers that the running pipeline would
// try. In one cycle each stream gets one token, and a cycle lasts as long as the longest of
//   * a stage's work on all M micro-batches,
//   * a link's transfer of all of them,
//   * the latency of the largest micro-batch through all stages and links, once,
//   * for each machine, the bytes that its devices read for all M micro-batches, at its bandwidth.
// The latency of one stream follows with N = 1. PromptSteps.swift has how long prompts take. Where requests
// count as a whole, the time of their prompts and that of the cycles after it are added.

package import Compute
internal import Gemma

/// Plans placements on some devices.
package struct Planner: Sendable {
  let costs: PipelineCosts
  /// What the executables must have room for.
  let limits: ExecutableLimits

  /// The most kinds of devices that are searched, and sets of used ones.
  ///
  /// Eight devices that all differ have 256 sets. Sixteen each of two kinds have 544, because that beside the
  /// coordinator is of a kind of its own, and 64 of one kind have 128.
  package static let maxDeviceKinds = 8
  package static let maxDeviceSets = 600
  /// The least gain that a placement must have over one with fewer stages.
  ///
  /// Each stage is another process that can fail, and measured costs are no more precise than this.
  package static let worthwhileGain = 0.02

  /// Makes a planner for executables with these limits, whose keys and values must fit.
  package init(costs: PipelineCosts, limits: ExecutableLimits) {
    self.costs = costs
    self.limits = limits
  }

  /// Returns the best placement and its alternatives.
  ///
  /// - Throws: `CoordinatorError` with code `placement` if there are too many devices that differ, or the
  ///   model does not fit into their memory.
  package func plan(_ objective: PlanObjective) throws(CoordinatorError) -> Plan {
    let groups = DeviceGroups(costs)
    guard groups.members.count <= Self.maxDeviceKinds, groups.setCount <= Self.maxDeviceSets else {
      throw CoordinatorError(
        .placement,
        "\(costs.devices.count) devices of \(groups.members.count) kinds are too many to plan for: at most \(Self.maxDeviceKinds) "
          + "that all differ, or 16 each of two kinds; give --split"
      )
    }
    precondition(objective.streams > 0, "a plan for \(objective.streams) streams")
    let counts = 1...max(1, min(costs.devices.count, costs.layerCount))
    let best = counts.map { self.best(stageCount: $0, objective) }
    var chosen: PlanOption?
    for case .some(let option) in best {
      guard let current = chosen else {
        chosen = option
        continue
      }
      if option.isWorthwhile(over: current) { chosen = option }
    }
    guard let chosen else { throw misfit }
    var alternatives = zip(counts, best).map {
      Plan.Alternative(kind: .best(stageCount: $0), option: $1)
    }
    if counts.upperBound > 1 {
      alternatives.append(
        Plan.Alternative(
          kind: .evenSplit,
          option: evaluate(evenSplit(counts.upperBound), for: objective)
        )
      )
    }
    return Plan(objective: objective, chosen: chosen, alternatives: alternatives)
  }

  /// Returns the placements that would be chosen if only prompts counted, and only answers; both are
  /// evaluated for the objective itself.
  ///
  /// - Throws: As `plan`.
  package func phases(of objective: PlanObjective) throws(CoordinatorError) -> PlanPhases {
    let prompts = try plan(objective.promptsAlone).chosen
    let answers = try plan(objective.answersAlone).chosen
    return PlanPhases(
      prompts: evaluate(prompts.stages, for: objective) ?? prompts,
      answers: evaluate(answers.stages, for: objective) ?? answers
    )
  }

  /// Says that no placement fits, with the memory there is, and what to do.
  private var misfit: CoordinatorError {
    let all = costs.shape.line.slice(layers: 0..<costs.layerCount)
    let whole = costs.shape.footprint.held(
      all,
      in: limits,
      cacheType: costs.shape.footprint.cacheType
    )
    var reasons = costs.devices.map { "\($0.name) has \(decimal($0.memoryBytes / 1e9, 2)) GB" }
    for (machine, profile) in costs.machines.enumerated() {
      let names = costs.devices.indices.filter {
        costs.machineOfDevice[$0] == machine && !costs.devices[$0].hasOwnMemory
      }.map { costs.devices[$0].name }
      guard names.count > 1, let bytes = profile.memoryBytes else { continue }
      reasons.append("\(names.joined(separator: ", ")) share \(decimal(bytes / 1e9, 2)) GB")
    }
    reasons += costs.devices.indices.compactMap {
      costs.obstacle(to: StageSpan(device: $0, slice: all))
    }
    return CoordinatorError(
      .placement,
      "the model with \(limits.slots) contexts of \(limits.contextTokens) tokens takes "
        + "\(decimal(Double(whole.total) / 1e9, 2)) GB and fits no placement: "
        + reasons.joined(separator: ", ") + "; \(CoordinatorError.memoryAdvice)"
    )
  }

  private func evenSplit(_ count: Int) -> [StageSpan] {
    (0..<count).map { stage in
      let layers = (costs.layerCount * stage / count)..<(costs.layerCount * (stage + 1) / count)
      return StageSpan(device: stage, slice: costs.shape.line.slice(layers: layers))
    }
  }

  /// Returns the predicted speed of a placement with its best number of micro-batches; nil if the
  /// placement does not fit into memory.
  package func evaluate(_ stages: [StageSpan], for objective: PlanObjective) -> PlanOption? {
    DepthTuner.candidates(stageCount: stages.count, streams: objective.streams)
      .compactMap {
        evaluate(stages, for: objective, MicroBatches(streams: objective.streams, count: $0))
      }
      .fastest
  }

  private func evaluate(
    _ stages: [StageSpan],
    for objective: PlanObjective,
    _ batches: MicroBatches
  ) -> PlanOption? {
    let times = stages.map { costs.time(of: $0, .decoding(batches.most)) }
    let busy = stages.map { stage in batches.sum { costs.time(of: stage, .decoding($0)) } }
    let link = linkTime(stages, .decoding(batches.most))
    var usage = MachineUsage(machineCount: costs.machines.count)
    for stage in stages {
      guard let next = usage.adding(stage, self) else { return nil }
      usage = next
    }
    let slowest = busy.max() ?? 0
    var (cycle, limit) = (slowest, PlanLimit.stage(busy.firstIndex(of: slowest) ?? 0))
    if link + times.reduce(0, +) > cycle {
      (cycle, limit) = (link + times.reduce(0, +), .latency)
    }
    for (index, (from, to)) in zip(stages, stages.dropFirst()).enumerated() {
      let transfer = batches.sum { costs.transferTime(from: from, to: to, .decoding($0)) }
      if transfer > cycle { (cycle, limit) = (transfer, .link(to: index + 1)) }
    }
    let memory = usage.time(costs, microBatches: batches.count)
    if memory.microseconds > cycle {
      (cycle, limit) = (memory.microseconds, .sharedMemory(machine: memory.machine))
    }
    let prompts = prompts(
      stages,
      streams: objective.streams,
      tokens: objective.promptTokens
    )
    return PlanOption(
      stages: stages,
      microBatches: batches.count,
      rows: batches.most,
      cycleMicroseconds: cycle,
      tokensPerSecond: Double(batches.streams) / max(cycle, 1e-3) * 1e6,
      stageMicroseconds: times,
      busy: busy.map { cycle > 0 ? $0 / cycle : 0 },
      linkMicroseconds: link,
      limit: limit,
      prompts: prompts,
      microseconds: objective.microseconds(prompts: prompts.microseconds, cycle: cycle)
    )
  }
}

extension PlanOption {
  /// Whether it is enough faster than a placement with fewer stages or workers.
  package func isWorthwhile(over other: PlanOption) -> Bool {
    other.microseconds > microseconds * (1 + Planner.worthwhileGain)
  }
}

/// The division of streams into micro-batches.
struct MicroBatches {
  let streams: Int
  let count: Int
  /// The rows of the largest micro-batch, and how many are that large; the others have one row
  /// less.
  let most: Int
  private let mostCount: Int

  init(streams: Int, count: Int) {
    self.streams = streams
    self.count = count
    most = (streams + count - 1) / count
    mostCount = streams - (most - 1) * count
  }

  /// Returns the sum of a value over all micro-batches.
  func sum(_ value: (Int) -> Double) -> Double {
    let few = count - mostCount
    return Double(mostCount) * value(most) + (few > 0 ? Double(few) * value(most - 1) : 0)
  }
}
