// Finds the fastest placement by exact dynamic programming over contiguous slices of the model
// (layers, then parts of the vocabulary) and ordered subsets of devices.
//
// N streams run as M micro-batches. M is the fastest of the numbers that the running pipeline would
// try. In one cycle each stream gets one token, and a cycle lasts as long as the longest of
//   * a stage's work on all M micro-batches,
//   * the latency of the largest micro-batch through all stages and links, once,
//   * for each machine, the bytes that its devices read for all M micro-batches, at its bandwidth.
// The latency of one stream follows with N = 1.

package import Compute
internal import Gemma

/// Plans placements on some devices.
package struct Planner: Sendable {
  let costs: PipelineCosts
  /// What the executables must have room for.
  let limits: ExecutableLimits

  /// The number of subsets doubles with each device that differs from the others, so it is limited.
  package static let maxDevices = 8
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
  /// - Throws: `CoordinatorError` with code `placement` if there are too many devices, or the model
  ///   does not fit into their memory.
  package func plan(_ objective: PlanObjective) throws(CoordinatorError) -> Plan {
    guard costs.devices.count <= Self.maxDevices else {
      throw CoordinatorError(
        .placement,
        "\(costs.devices.count) devices, at most \(Self.maxDevices) are planned for; give --split"
      )
    }
    let streams = objective.streams
    precondition(streams > 0, "a plan for \(streams) streams")
    let counts = 1...max(1, min(costs.devices.count, costs.layerCount))
    let best = counts.map { self.best(stageCount: $0, streams: streams) }
    var chosen: PlanOption?
    for case .some(let option) in best {
      guard let current = chosen else {
        chosen = option
        continue
      }
      if option.tokensPerSecond > current.tokensPerSecond * (1 + Self.worthwhileGain) {
        chosen = option
      }
    }
    guard let chosen else { throw misfit }
    var alternatives = zip(counts, best).map {
      Plan.Alternative(kind: .best(stageCount: $0), option: $1)
    }
    if counts.upperBound > 1 {
      alternatives.append(
        Plan.Alternative(
          kind: .evenSplit,
          option: evaluate(evenSplit(counts.upperBound), streams: streams)
        )
      )
    }
    return Plan(objective: objective, chosen: chosen, alternatives: alternatives)
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
  package func evaluate(_ stages: [StageSpan], streams: Int) -> PlanOption? {
    DepthTuner.candidates(stageCount: stages.count, streams: streams)
      .compactMap { evaluate(stages, MicroBatches(streams: streams, count: $0)) }
      .fastest
  }

  private func evaluate(_ stages: [StageSpan], _ batches: MicroBatches) -> PlanOption? {
    let streams = batches.streams
    let times = stages.map { costs.time(of: $0, .decoding(batches.most)) }
    let busy = stages.map { stage in batches.sum { costs.time(of: stage, .decoding($0)) } }
    var link = costs.messageTime(to: stages[0].device)
    link += costs.messageTime(to: stages[stages.count - 1].device)
    for (from, to) in zip(stages, stages.dropFirst()) {
      link += costs.handOffTime(
        from: from.device,
        to: to.device,
        before: to.slice,
        .decoding(batches.most)
      )
    }
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
    let memory = usage.time(costs, microBatches: batches.count)
    if memory.microseconds > cycle {
      (cycle, limit) = (memory.microseconds, .sharedMemory(machine: memory.machine))
    }
    return PlanOption(
      stages: stages,
      microBatches: batches.count,
      rows: batches.most,
      cycleMicroseconds: cycle,
      tokensPerSecond: Double(streams) / max(cycle, 1e-3) * 1e6,
      stageMicroseconds: times,
      busy: busy.map { cycle > 0 ? $0 / cycle : 0 },
      linkMicroseconds: link,
      limit: limit
    )
  }
}

extension [PlanOption] {
  /// The fastest option, the first one of equals; nil if there is none.
  var fastest: PlanOption? {
    reduce(nil) { best, option in
      option.tokensPerSecond > best?.tokensPerSecond ?? 0 ? option : best
    }
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

/// What the stages so far use of each machine.
struct MachineUsage: Hashable {
  /// Bytes that a micro-batch reads.
  private(set) var readBytes: [Double]
  /// What is held of the memory that all devices share.
  private(set) var held: [HeldMemory]

  init(machineCount: Int) {
    readBytes = Array(repeating: 0, count: machineCount)
    held = Array(repeating: HeldMemory(), count: machineCount)
  }

  /// Returns the usage with one more stage; nil if the stage does not fit its device or machine, or
  /// cannot run there.
  func adding(_ stage: StageSpan, _ planner: Planner) -> MachineUsage? {
    let costs = planner.costs
    guard costs.obstacle(to: stage) == nil else { return nil }
    let machine = costs.machineOfDevice[stage.device]
    let device = costs.devices[stage.device]
    let footprint = costs.shape.footprint
    var memory = footprint.held(
      stage.slice,
      in: planner.limits,
      cacheType: device.cacheType ?? footprint.cacheType
    )
    if device.hasOwnMemory { memory = memory.copied }
    guard Double(memory.total) <= device.memoryBytes else { return nil }
    var next = self
    if let shared = costs.machines[machine].memoryBytes, !device.hasOwnMemory {
      next.held[machine] = next.held[machine].joined(with: memory)
      guard Double(next.held[machine].total) <= shared else { return nil }
    }
    next.readBytes[machine] += costs.readBytes(of: stage, .decoding(1))
    return next
  }

  /// Returns the machine whose memory takes longest for a cycle, and that time.
  func time(
    _ costs: PipelineCosts,
    microBatches: Int
  ) -> (microseconds: Double, machine: Int) {
    var worst = (microseconds: 0.0, machine: 0)
    for (machine, bytes) in readBytes.enumerated() {
      guard let rate = costs.machines[machine].sharedBandwidthBytesPerSecond else { continue }
      let time = Double(microBatches) * bytes / rate * 1e6
      if time > worst.microseconds { worst = (time, machine) }
    }
    return worst
  }

  /// Returns whether this usage exceeds another one on no machine.
  func isWithin(_ other: MachineUsage) -> Bool {
    zip(readBytes, other.readBytes).allSatisfy { $0 <= $1 }
      && zip(held, other.held).allSatisfy { $0.isWithin($1) }
  }
}
