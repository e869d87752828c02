// A planned placement: its predicted speed, what limits it, and its alternatives.

internal import Gemma

/// The goal of a placement.
package enum PlanObjective: Sendable, Hashable {
  /// The most tokens per second of `streams` streams together.
  case throughput(streams: Int)
  /// The least time per token of a single stream.
  case latency

  package var streams: Int {
    switch self {
    case .throughput(let streams): streams
    case .latency: 1
    }
  }
}

/// What limits the speed of a placement.
package enum PlanLimit: Sendable, Hashable {
  /// A stage that is always busy.
  case stage(Int)
  /// The latency of a micro-batch through all stages: there are too few streams to hide it.
  case latency
  /// The memory bandwidth of a machine, which its devices share.
  case sharedMemory(machine: Int)
}

/// A placement and its predicted speed.
package struct PlanOption: Sendable, Hashable {
  package var stages: [StageSpan]
  /// How many micro-batches are in flight, and the rows of the largest one.
  package var microBatches: Int
  package var rows: Int
  /// The time in which each stream gets one token.
  package var cycleMicroseconds: Double
  package var tokensPerSecond: Double
  /// The time of a step with `rows` rows, by stage.
  package var stageMicroseconds: [Double]
  /// The share of a cycle in which the stage computes, by stage.
  package var busy: [Double]
  /// The time that a micro-batch spends on links, between stages and to and from the coordinator.
  package var linkMicroseconds: Double
  package var limit: PlanLimit
}

/// The chosen placement and its alternatives.
package struct Plan: Sendable {
  /// Another placement.
  package struct Alternative: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
      /// The best placement with this number of stages.
      case best(stageCount: Int)
      /// The same number of layers on each device, with the devices in the given order.
      case evenSplit
    }

    package var kind: Kind
    /// The evaluated placement; nil if it does not fit into memory.
    package var option: PlanOption?
  }

  package var objective: PlanObjective
  package var chosen: PlanOption
  package var alternatives: [Alternative]
}

extension Plan {
  /// Returns what limits a placement, as a sentence without its full stop.
  package func limitText(_ option: PlanOption, _ costs: PipelineCosts) -> String {
    switch option.limit {
    case .stage(let index):
      let name = costs.devices[option.stages[index].device].name
      return "\(name) is always busy: \(milliseconds(option.stageMicroseconds[index])) a step"
    case .latency where option.stages.count == 1:
      let stage = milliseconds(option.stageMicroseconds.first ?? 0)
      return "one step after the other: \(stage) to compute, "
        + "\(milliseconds(option.linkMicroseconds)) on the way"
    case .latency:
      let compute = option.stageMicroseconds.reduce(0, +)
      return "the way through all stages: \(milliseconds(compute)) of computing and "
        + "\(milliseconds(option.linkMicroseconds)) of messages"
    case .sharedMemory(let machine):
      let rate = costs.machines[machine].sharedBandwidthBytesPerSecond ?? 0
      return "the memory of \(costs.machines[machine].name), which its devices share: "
        + "\(decimal(rate / 1e9, 1)) GB/s"
    }
  }

  /// Returns why an alternative was not chosen, as a sentence without its full stop.
  package func reason(_ alternative: Alternative, _ costs: PipelineCosts) -> String {
    guard let option = alternative.option else { return "does not fit into the devices' memory" }
    if option.stages == chosen.stages { return "chosen" }
    let slower = (1 - option.tokensPerSecond / chosen.tokensPerSecond) * 100
    let limit = limitText(option, costs)
    if slower < 0 {
      return "\(decimal(-slower, 1)) % faster, which is less than another stage must gain; \(limit)"
    }
    return "\(decimal(slower, 1)) % slower; \(limit)"
  }

  /// Returns a sentence that says what was chosen, from how many devices, and why.
  package func summary(_ costs: PipelineCosts) -> String {
    let split = chosen.stages.map { stage in
      "\(costs.devices[stage.device].name) \(costs.shape.line.text(stage.slice))"
    }
    var text = "\(split.joined(separator: ", ")) for "
    switch objective {
    case .throughput(let streams): text += "the throughput of \(streams) streams"
    case .latency: text += "the latency of one stream"
    }
    text += ": \(decimal(chosen.tokensPerSecond, 1)) tokens/s "
    text += "(\(costs.kind(of: chosen.stages).rawValue) costs); \(limitText(chosen, costs))"
    let unused = costs.devices.count - chosen.stages.count
    guard unused > 0 else { return text }
    let all = alternatives.first { $0.kind == .best(stageCount: costs.devices.count) }
    let why = all.map { reason($0, costs) } ?? "more stages than layers"
    return text + ". Fewer stages than devices: with all \(costs.devices.count), \(why)"
  }

  private func milliseconds(_ microseconds: Double) -> String {
    "\(decimal(microseconds / 1000, microseconds < 10_000 ? 2 : 1)) ms"
  }
}

/// Returns a number as text, with a fixed count of decimals of at least one.
func decimal(_ value: Double, _ places: Int) -> String {
  var scale = 1.0
  for _ in 0..<places { scale *= 10 }
  let scaled = (abs(value) * scale).rounded()
  guard scaled < 1e15 else { return "\(value)" }
  let digits = String(Int(scaled))
  let padded = String(repeating: "0", count: max(0, places + 1 - digits.count)) + digits
  return (value < 0 && scaled > 0 ? "-" : "") + padded.dropLast(places) + "."
    + padded.suffix(places)
}
