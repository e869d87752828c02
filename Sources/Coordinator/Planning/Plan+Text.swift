// What a plan says to users: which placement, for what, how fast, and why not another one.

internal import Gemma

extension Plan {
  /// Returns what limits a placement while streams decode, as a sentence without its full stop.
  package func limitText(_ option: PlanOption, _ costs: PipelineCosts) -> String {
    costs.text(option.limit, option.stages, option.stageMicroseconds, option.linkMicroseconds)
  }

  /// Returns what limits a placement while it reads prompts, as a sentence without its full stop.
  package func promptLimitText(_ option: PlanOption, _ costs: PipelineCosts) -> String {
    let prompts = option.prompts
    return costs.text(
      prompts.limit,
      option.stages,
      prompts.stageMicroseconds,
      prompts.linkMicroseconds
    )
  }

  /// Returns what limits a placement in the phases that count.
  private func limitsText(_ option: PlanOption, _ costs: PipelineCosts) -> String {
    let (prompts, answers) = (promptLimitText(option, costs), limitText(option, costs))
    guard objective.countsPrompts else { return answers }
    return objective.countsAnswers ? "prompts: \(prompts); answers: \(answers)" : prompts
  }

  /// Returns why another placement was not chosen, as a sentence without its full stop; nil stands for one
  /// that does not fit.
  package func reason(_ option: PlanOption?, _ costs: PipelineCosts) -> String {
    guard let option else { return "does not fit into the devices' memory" }
    if option.stages == chosen.stages { return "chosen" }
    let slower = (1 - chosen.microseconds / option.microseconds) * 100
    let limit = limitsText(option, costs)
    if slower < 0 {
      return "\(decimal(-slower, 1)) % faster, which is less than another stage must gain; \(limit)"
    }
    return "\(decimal(slower, 1)) % slower; \(limit)"
  }

  /// Returns a sentence that says what was chosen, from how many devices, and why.
  package func summary(_ costs: PipelineCosts) -> String {
    var text = "\(costs.text(chosen.stages)) for \(objective.text): "
    var rates: [String] = []
    if objective.countsPrompts {
      rates.append("prompts at \(decimal(chosen.prompts.tokensPerSecond, 1)) tokens/s")
      if objective.countsAnswers {
        rates.append("answers at \(decimal(chosen.tokensPerSecond, 1)) tokens/s")
      }
    } else {
      rates.append("\(decimal(chosen.tokensPerSecond, 1)) tokens/s")
    }
    text += rates.joined(separator: ", ")
    text += " (\(costs.kind(of: chosen.stages).rawValue) costs); \(limitsText(chosen, costs))"
    let unused = costs.devices.count - chosen.stages.count
    guard unused > 0 else { return text }
    let all = alternatives.first { $0.kind == .best(stageCount: costs.devices.count) }
    let why = all.map { reason($0.option, costs) } ?? "more stages than layers"
    return text + ". Fewer stages than devices: with all \(costs.devices.count), \(why)"
  }
}

extension PlanObjective {
  /// The goal as text, for example `the throughput of 4 streams`.
  package var text: String {
    switch (goal, request) {
    case (.throughput, nil): "the throughput of \(streams) streams"
    case (.latency, nil): "the latency of one stream"
    case (.throughput, .some(let request)):
      "the throughput of \(streams) streams with \(request.text)"
    case (.latency, .some(let request)): "the latency of one stream with \(request.text)"
    }
  }
}

extension RequestSize {
  /// For example `prompts of 512 and answers of 128 tokens`.
  fileprivate var text: String {
    answerTokens == 1
      ? "prompts of \(promptTokens) tokens alone"
      : "prompts of \(promptTokens) and answers of \(answerTokens) tokens"
  }
}

extension PlanPhases {
  /// Returns which phase wants which placement, and what the chosen one costs them, as a sentence without
  /// its full stop.
  package func text(chosen: PlanOption, _ costs: PipelineCosts) -> String {
    if prompts.stages == chosen.stages, answers.stages == chosen.stages {
      return "prompts alone and answers alone would be placed the same way"
    }
    let slower = { (rate: Double, best: Double) in
      "\(decimal(max(0, 1 - rate / best) * 100, 1)) % slower"
    }
    return "prompts alone would be fastest on \(costs.text(prompts.stages)) "
      + "(\(decimal(prompts.prompts.tokensPerSecond, 1)) tokens/s), answers alone on "
      + "\(costs.text(answers.stages)) (\(decimal(answers.tokensPerSecond, 1)) tokens/s); "
      + "the chosen placement reads prompts "
      + slower(chosen.prompts.tokensPerSecond, prompts.prompts.tokensPerSecond)
      + " and decodes answers " + slower(chosen.tokensPerSecond, answers.tokensPerSecond)
  }
}

extension PipelineCosts {
  /// Returns stages as text: each device with its slice.
  package func text(_ stages: [StageSpan]) -> String {
    stages.map { "\(devices[$0.device].name) \(shape.line.text($0.slice))" }
      .joined(separator: ", ")
  }

  fileprivate func text(
    _ limit: PlanLimit,
    _ stages: [StageSpan],
    _ stageMicroseconds: [Double],
    _ linkMicroseconds: Double
  ) -> String {
    switch limit {
    case .stage(let index):
      let name = devices[stages[index].device].name
      return "\(name) is always busy: \(milliseconds(stageMicroseconds[index])) a step"
    case .link(let index):
      let names = stages[(index - 1)...index].map { devices[$0.device].name }
      let rate = link(from: stages[index - 1].device, to: stages[index].device).bytesPerSecond
      return "the link from \(names[0]) to \(names[1]) always sends: "
        + "\(decimal(rate / 1e6, 1)) MB/s"
    case .latency where stages.count == 1:
      let stage = milliseconds(stageMicroseconds.first ?? 0)
      return "one step after the other: \(stage) to compute, "
        + "\(milliseconds(linkMicroseconds)) on the way"
    case .latency:
      let compute = stageMicroseconds.reduce(0, +)
      return "the way through all stages: \(milliseconds(compute)) of computing and "
        + "\(milliseconds(linkMicroseconds)) of messages"
    case .sharedMemory(let machine):
      let rate = machines[machine].sharedBandwidthBytesPerSecond ?? 0
      return "the memory of \(machines[machine].name), which its devices share: "
        + "\(decimal(rate / 1e9, 1)) GB/s"
    }
  }
}

private func milliseconds(_ microseconds: Double) -> String {
  "\(decimal(microseconds / 1000, microseconds < 10_000 ? 2 : 1)) ms"
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
