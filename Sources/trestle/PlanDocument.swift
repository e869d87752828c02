// What `trestle plan` prints, as JSON and as text.

import Coordinator
import Gemma

/// A plan with the simulation that backs it.
struct PlanDocument: Encodable {
  struct Stage: Encodable {
    var device: String
    var kind: String
    var layers: [Int]
    var vocabulary: [Int]
    var stepMs: Double
    var busy: Double
  }

  struct Simulated: Encodable {
    var decodeTokensPerSecond: Double
    var prefillTokensPerSecond: Double
    var bubbles: [Double]
    var interTokenP50Ms: Double
    var interTokenP99Ms: Double
  }

  struct Alternative: Encodable {
    var name: String
    var kind: String
    var devices: [String]
    var split: [Int]
    /// The rows of the vocabulary of each stage, from the one with the last layer on.
    var logitsSplit: [Int]
    /// 0 if the alternative does not fit into memory.
    var tokensPerSecond: Double
    var simulatedTokensPerSecond: Double
    var reason: String
  }

  var model: String
  /// The least certain kind of the numbers that it is based on.
  var kind: String
  var objective: String
  var streams: Int
  var stages: [Stage]
  var microBatches: Int
  var linkMs: Double
  var tokensPerSecond: Double
  var limit: String
  /// Why this placement was chosen.
  var reason: String
  var simulated: Simulated
  var alternatives: [Alternative]

  init(
    model: String,
    plan: Plan,
    costs: PipelineCosts,
    reason: String,
    simulate: (PlanOption) -> SimulationResult
  ) {
    let chosen = plan.chosen
    self.model = model
    kind = costs.kind(of: chosen.stages).rawValue
    objective = plan.objective == .latency ? "latency" : "throughput"
    streams = plan.objective.streams
    stages = chosen.stages.enumerated().map { index, stage in
      Stage(
        device: costs.devices[stage.device].name,
        kind: costs.devices[stage.device].kind.rawValue,
        layers: stage.layers.ends,
        vocabulary: stage.slice.vocabulary.ends,
        stepMs: chosen.stageMicroseconds[index] / 1000,
        busy: chosen.busy[index]
      )
    }
    microBatches = chosen.microBatches
    linkMs = chosen.linkMicroseconds / 1000
    tokensPerSecond = chosen.tokensPerSecond
    limit = plan.limitText(chosen, costs)
    self.reason = reason
    let result = simulate(chosen)
    simulated = Simulated(
      decodeTokensPerSecond: result.decodeTokensPerSecond,
      prefillTokensPerSecond: result.prefillTokensPerSecond,
      bubbles: result.bubbles,
      interTokenP50Ms: result.interTokenP50Microseconds / 1000,
      interTokenP99Ms: result.interTokenP99Microseconds / 1000
    )
    let leastCertain = costs.devices.map(\.kind).max() ?? .measured
    alternatives = plan.alternatives.map { alternative in
      let option = alternative.option
      return Alternative(
        name: alternative.name,
        kind: (option.map { costs.kind(of: $0.stages) } ?? leastCertain).rawValue,
        devices: option?.stages.map { costs.devices[$0.device].name } ?? [],
        split: option?.stages.map(\.layers.count) ?? [],
        logitsSplit: (option?.stages ?? []).filter { $0.layers.upperBound == costs.layerCount }
          .map(\.slice.vocabulary.count),
        tokensPerSecond: option?.tokensPerSecond ?? 0,
        simulatedTokensPerSecond: option.map { simulate($0).decodeTokensPerSecond } ?? 0,
        reason: plan.reason(alternative, costs)
      )
    }
  }

  /// Returns the placement, and with `explains` the alternatives.
  ///
  /// Every line begins with the kind of its numbers.
  func text(explains: Bool) -> String {
    let rows = stages.enumerated().map { index, stage in
      [
        "\(index)", stage.device, "\(stage.layers[0])..<\(stage.layers[1])",
        "\(stage.vocabulary[0])..<\(stage.vocabulary[1])",
        decimal(stage.stepMs, 3), "\(Int((stage.busy * 100).rounded())) %",
        "\(Int((simulated.bubbles[index] * 100).rounded())) %",
      ]
    }
    let count = streams == 1 ? "1 stream" : "\(streams) streams"
    let title = "\(model): \(objective) of \(count), \(microBatches) micro-batches in flight"
    var text = title + "\n"
    text += table(
      ["stage", "device", "layers", "vocabulary", "ms per step", "busy", "bubble simulated"],
      rows
    )
    text += "\ndecode \(decimal(tokensPerSecond, 1)) tokens/s predicted, "
    text += "\(decimal(simulated.decodeTokensPerSecond, 1)) simulated"
    text += "\nchosen: \(reason)"
    if explains { text += "\n" + explanation }
    return text.split(separator: "\n").map { "\(kind)  \($0)" }.joined(separator: "\n")
  }

  private var explanation: String {
    let rows = alternatives.map { alternative in
      [
        alternative.name, alternative.devices.joined(separator: ","),
        alternative.split.map(String.init).joined(separator: ","),
        alternative.logitsSplit.map(String.init).joined(separator: ","),
        decimal(alternative.tokensPerSecond, 1),
        decimal(alternative.simulatedTokensPerSecond, 1), alternative.reason,
      ]
    }
    return """
      simulated: prefill \(decimal(simulated.prefillTokensPerSecond, 1)) tokens/s, between tokens \
      \(decimal(simulated.interTokenP50Ms, 2)) ms at the median, \
      \(decimal(simulated.interTokenP99Ms, 2)) ms at the 99th percentile
      alternatives:
      \(table(["placement", "devices", "split", "logits", "predicted", "simulated", "why not"], rows))
      """
  }
}

extension Plan.Alternative {
  /// A short name of the placement.
  var name: String {
    switch kind {
    case .best(let count): count == 1 ? "1 stage" : "\(count) stages"
    case .evenSplit: "even split"
    }
  }
}
