// A plan as text.

import Coordinator

extension PlanDocument {
  /// Returns the placement, and with `explains` the alternatives.
  ///
  /// Every line begins with the kind of its numbers.
  func text(explains: Bool) -> String {
    let rows = stages.enumerated().map { index, stage in
      [
        "\(index)", stage.device, "\(stage.layers[0])..<\(stage.layers[1])",
        "\(stage.vocabulary[0])..<\(stage.vocabulary[1])",
        decimal(stage.stepMs, 3), "\(Int((stage.busy * 100).rounded())) %",
        "\(Int((simulated.bubbles[index] * 100).rounded())) %", decimal(stage.promptStepMs, 1),
      ]
    }
    let count = counted(streams, "stream")
    let title =
      "\(model): \(objective) of \(count), micro-batches in flight: \(microBatches), --slots \(slots)"
    var text = title + "\n"
    text += table(
      [
        "stage", "device", "layers", "vocabulary", "ms per step", "busy", "bubble simulated",
        "ms per prompt step",
      ],
      rows
    )
    text += "\ndecode \(decimal(tokensPerSecond, 1)) tokens/s predicted, "
    text += "\(decimal(simulated.decodeTokensPerSecond, 1)) simulated"
    text += "\nprefill \(decimal(prefill.tokensPerSecond, 1)) tokens/s predicted, "
    text += "\(decimal(simulated.prefillTokensPerSecond, 1)) simulated; "
    text += "a prompt of \(prefill.promptTokens) tokens alone has its first token after "
    text += "\(decimal(prefill.firstTokenMs, 1)) ms predicted, "
    text += "\(decimal(simulated.firstTokenMs, 1)) simulated"
    if let request {
      text += "\n\(count) with prompts of \(request.promptTokens) and answers of "
      text += "\(request.answerTokens) tokens take \(decimal(request.ms / 1000, 2)) s predicted, "
      text += "\(decimal(request.simulatedMs / 1000, 2)) simulated"
    }
    text += "\nchosen: \(reason)"
    if explains { text += "\n" + explanation }
    var lines = text.split(separator: "\n").map { (kind: kind, text: String($0)) }
    if explains { lines += otherLines }
    return lines.map { "\($0.kind)  \($0.text)" }.joined(separator: "\n")
  }

  private var explanation: String {
    var text = """
      simulated: between tokens \(decimal(simulated.interTokenP50Ms, 2)) ms at the median, \
      \(decimal(simulated.interTokenP99Ms, 2)) ms at the 99th percentile
      prefill: \(prefill.limit)
      decode: \(limit)\n
      """
    for cost in layerCosts { text += "\(cost.device): \(cost.reason)\n" }
    return text
  }

  /// The other placements, each line with the kind of its own numbers.
  private var otherLines: [(kind: String, text: String)] {
    var lines: [(kind: String, text: String)] = []
    var others = alternatives
    if let phases {
      // The text compares the two.
      let both = [phases.prompts, phases.answers]
      let kind = both.compactMap { NumberKind(rawValue: $0.kind) }.max()?.rawValue ?? kind
      lines.append((kind, "phases: \(phases.reason)"))
      others += both
    }
    let rows = others.map { alternative in
      [
        alternative.name, alternative.devices.joined(separator: ","),
        alternative.split.map(String.init).joined(separator: ","),
        alternative.logitsSplit.map(String.init).joined(separator: ","),
        decimal(alternative.prefillTokensPerSecond, 1),
        decimal(alternative.simulatedPrefillTokensPerSecond ?? 0, 1),
        decimal(alternative.tokensPerSecond, 1),
        decimal(alternative.simulatedTokensPerSecond ?? 0, 1), alternative.reason,
      ]
    }
    let header = [
      "placement", "devices", "split", "logits", "prefill", "simulated", "decode", "simulated",
      "why not",
    ]
    lines.append((kind, "alternatives, in tokens/s:"))
    let kinds = [kind] + others.map(\.kind)
    let texts = table(header, rows).split(separator: "\n").map(String.init)
    return lines + zip(kinds, texts).map { (kind: $0, text: $1) }
  }
}
