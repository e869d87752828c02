// What `trestle plan` shows, as the JSON document has it.

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
    /// The time of a full step in the middle of prompts.
    var promptStepMs: Double
    /// What it holds: weights, keys and values of all slots, activations, tables.
    var memoryBytes: Int
  }

  /// The requests that the placement is planned for.
  struct Request: Encodable {
    var promptTokens: Int
    var answerTokens: Int
    /// Until all streams, which start together, have got all tokens.
    var ms: Double
    var simulatedMs: Double
  }

  /// How fast prompts are read, as predicted.
  struct Prefill: Encodable {
    /// Of each prompt.
    var promptTokens: Int
    var tokensPerSecond: Double
    /// Of a request that is alone.
    var firstTokenMs: Double
    var limit: String
  }

  struct Simulated: Encodable {
    var decodeTokensPerSecond: Double
    var prefillTokensPerSecond: Double
    var firstTokenMs: Double
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
    /// Rates are 0 if the alternative does not fit into memory.
    var tokensPerSecond: Double
    /// Absent, as the other simulated rate, from a document that does not explain: many streams on many stages
    /// take a second.
    var simulatedTokensPerSecond: Double?
    var prefillTokensPerSecond: Double
    var simulatedPrefillTokensPerSecond: Double?
    var firstTokenMs: Double
    var reason: String
  }

  /// What either phase alone would choose.
  struct Phases: Encodable {
    var prompts: Alternative
    var answers: Alternative
    var reason: String
  }

  /// What a token costs on a device, in microseconds by layer.
  struct LayerCosts: Encodable {
    var device: String
    var promptUs: [Double]
    var decodeUs: [Double]
    var logitsUs: Double
    var reason: String
  }

  var model: String
  /// The least certain kind of the numbers that it is based on.
  var kind: String
  var objective: String
  var streams: Int
  /// How many sessions the memory is counted for: what `up` is to be given as `--slots`.
  var slots: Int
  /// Absent where only the tokens of answers count.
  var request: Request?
  var stages: [Stage]
  var microBatches: Int
  var linkMs: Double
  var tokensPerSecond: Double
  var limit: String
  var prefill: Prefill
  /// Why this placement was chosen.
  var reason: String
  var simulated: Simulated
  var alternatives: [Alternative]
  /// Absent from a document that does not explain.
  var phases: Phases?
  /// Of the devices that have a stage.
  var layerCosts: [LayerCosts]

  /// - Parameters:
  ///   - model: Its name.
  ///   - plan: The chosen placement, and the others.
  ///   - phases: What either phase would choose; nil where nobody asks.
  ///   - costs: What it was planned with.
  ///   - reason: Why it was chosen.
  ///   - lab: Simulates it, and the others where there are phases.
  init(
    model: String,
    plan: Plan,
    phases: PlanPhases?,
    costs: PipelineCosts,
    reason: String,
    lab: PlanSimulations
  ) {
    let chosen = plan.chosen
    self.model = model
    kind = costs.kind(of: chosen.stages).rawValue
    objective = plan.objective.goal.rawValue
    streams = plan.objective.streams
    slots = lab.limits.slots
    request = plan.objective.request.map {
      Request(
        promptTokens: $0.promptTokens,
        answerTokens: $0.answerTokens,
        ms: chosen.microseconds / 1000,
        simulatedMs: lab.microseconds(chosen, $0) / 1000
      )
    }
    stages = Self.stages(of: chosen, costs, lab.limits)
    microBatches = chosen.microBatches
    linkMs = chosen.linkMicroseconds / 1000
    tokensPerSecond = chosen.tokensPerSecond
    limit = plan.limitText(chosen, costs)
    prefill = Prefill(
      promptTokens: plan.objective.promptTokens,
      tokensPerSecond: chosen.prompts.tokensPerSecond,
      firstTokenMs: chosen.prompts.firstTokenMicroseconds / 1000,
      limit: plan.promptLimitText(chosen, costs)
    )
    self.reason = reason
    simulated = Simulated(lab.run(chosen))
    alternatives = plan.alternatives.map { alternative in
      Alternative(
        alternative.name,
        alternative.option,
        plan.reason(alternative.option, costs),
        costs,
        phases == nil ? nil : lab
      )
    }
    self.phases = phases.map { phases in
      let alone = { (name: String, option: PlanOption) in
        Alternative(name, option, plan.reason(option, costs), costs, lab)
      }
      return Phases(
        prompts: alone("prompts alone", phases.prompts),
        answers: alone("answers alone", phases.answers),
        reason: phases.text(chosen: chosen, costs)
      )
    }
    layerCosts = chosen.stages.map { stage in
      LayerCosts(
        device: costs.devices[stage.device].name,
        costs.tokenCosts(on: stage.device, promptRows: lab.limits.maxRows)
      )
    }
  }

  private static func stages(
    of option: PlanOption,
    _ costs: PipelineCosts,
    _ limits: CoordinatorLimits
  ) -> [Stage] {
    option.stages.enumerated().map { index, stage in
      Stage(
        device: costs.devices[stage.device].name,
        kind: costs.devices[stage.device].kind.rawValue,
        layers: stage.layers.ends,
        vocabulary: stage.slice.vocabulary.ends,
        stepMs: option.stageMicroseconds[index] / 1000,
        busy: option.busy[index],
        promptStepMs: option.prompts.stageMicroseconds[index] / 1000,
        memoryBytes: costs.heldMemory(of: stage, in: limits.executable).total
      )
    }
  }
}

extension PlanDocument.Simulated {
  init(_ result: SimulationResult) {
    decodeTokensPerSecond = result.decodeTokensPerSecond
    prefillTokensPerSecond = result.prefillTokensPerSecond
    firstTokenMs = result.firstTokenMicroseconds / 1000
    bubbles = result.bubbles
    interTokenP50Ms = result.interTokenP50Microseconds / 1000
    interTokenP99Ms = result.interTokenP99Microseconds / 1000
  }
}

extension PlanDocument.LayerCosts {
  init(device: String, _ costs: TokenCosts) {
    self.device = device
    promptUs = costs.prompt
    decodeUs = costs.decode
    logitsUs = costs.logits
    reason = costs.text
  }
}

extension PlanDocument.Alternative {
  init(
    _ name: String,
    _ option: PlanOption?,
    _ reason: String,
    _ costs: PipelineCosts,
    _ lab: PlanSimulations?
  ) {
    let leastCertain = costs.devices.map(\.kind).max() ?? .measured
    let result = lab.map { lab in option.map { lab.run($0) } }
    self.name = name
    kind = (option.map { costs.kind(of: $0.stages) } ?? leastCertain).rawValue
    devices = option?.stages.map { costs.devices[$0.device].name } ?? []
    split = option?.stages.map(\.layers.count) ?? []
    logitsSplit = (option?.stages ?? []).filter { $0.layers.upperBound == costs.layerCount }
      .map(\.slice.vocabulary.count)
    tokensPerSecond = option?.tokensPerSecond ?? 0
    simulatedTokensPerSecond = result.map { $0?.decodeTokensPerSecond ?? 0 }
    prefillTokensPerSecond = option?.prompts.tokensPerSecond ?? 0
    simulatedPrefillTokensPerSecond = result.map { $0?.prefillTokensPerSecond ?? 0 }
    firstTokenMs = (option?.prompts.firstTokenMicroseconds ?? 0) / 1000
    self.reason = reason
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

/// Simulates the placements of a plan.
struct PlanSimulations {
  let costs: PipelineCosts
  let objective: PlanObjective
  let limits: CoordinatorLimits

  private func simulation(of option: PlanOption) -> PipelineSimulation {
    PipelineSimulation(
      costs: costs,
      stages: option.stages,
      scheduler: Scheduler(
        maxRows: limits.maxRows,
        maxLogitsRows: limits.maxRows,
        stageCount: option.stages.count
      ),
      pace: Pace(decodeDepth: option.microBatches, promptRows: limits.maxRows)
    )
  }

  /// Returns the rates of both phases.
  func run(_ option: PlanOption) -> SimulationResult {
    simulation(of: option).run(
      streams: objective.streams,
      promptTokens: objective.promptTokens,
      decodeTokens: 64
    )
  }

  /// Returns how long requests take that start together.
  func microseconds(_ option: PlanOption, _ request: RequestSize) -> Double {
    simulation(of: option).microseconds(streams: objective.streams, request)
  }
}
