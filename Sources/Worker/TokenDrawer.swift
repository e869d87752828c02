// From the last stage's logits to what each row asked for: a token drawn, with biases and a mask, a score,
// or the logits themselves. It keeps the tokens of each slot, which penalties look at.

internal import Compute
package import Wire

/// Draws the tokens of a stage that has all logits of a row.
package struct TokenDrawer {
  private let vocabularySize: Int
  /// Tokens that are never drawn, but for a mask that allows them.
  private let suppressed: [Int32]
  /// Each slot's tokens so far.
  private var histories: [[Int32]]

  /// - Parameters:
  ///   - vocabularySize: How many logits a row has.
  ///   - slots: How many slots have a history.
  ///   - suppressed: Tokens that are never drawn. They stand for images, or the model's files forbid them.
  /// - Precondition: These are within the vocabulary.
  package init(vocabularySize: Int, slots: Int, suppressed: [Int32] = []) {
    self.vocabularySize = vocabularySize
    self.suppressed = suppressed
    histories = Array(repeating: [], count: slots)
  }

  // MARK: Histories

  /// Forgets what a slot holds.
  package mutating func clear(slot: Int) { histories[slot] = [] }

  /// Makes a slot begin with the first tokens of another one, or of itself.
  package mutating func take(_ fork: Fork) {
    histories[fork.target] = Array(histories[fork.source].prefix(fork.positionCount))
  }

  /// Lets a slot go on behind the tokens that another stage held of it.
  package mutating func resume(_ state: SlotState) { histories[state.slot] = state.tokens }

  private mutating func remember(_ row: StepRow) {
    // A session that is replayed comes with its positions again.
    histories[row.slot].removeLast(max(0, histories[row.slot].count - row.position))
    histories[row.slot].append(row.token)
  }

  // MARK: Drawing

  /// Turns the logits of a step into what each of its rows asked for.
  ///
  /// - Parameters:
  ///   - rows: All rows of the step; their tokens are remembered.
  ///   - logits: Those of the rows with an output, in their order, [wanted, vocabulary].
  /// - Returns: The results of the rows with an output, and the logits of those that asked for them.
  /// - Precondition: Slots and tokens are within their bounds; `Stage` checks them before a step runs.
  package mutating func draw(
    _ rows: [StepRow],
    logits: [Float]
  ) -> (results: [RowResult], logits: [Float]) {
    var results: [RowResult] = []
    var chosen: [Float] = []
    var wanted = 0
    for row in rows {
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
      case .none, .inputs: break
      case .sample(let sampling):
        result.token = token(for: row, line, sampling)
        if sampling.returnsLogProbabilities { score(&result, line, likeliest: sampling.likeliest) }
      case .logits: chosen += line
      case .score(let target):
        result.token = target
        result.logProbability = Sampler.logProbability(of: target, logits: line)
      }
      results.append(result)
    }
    return (results, chosen)
  }

  /// Draws the token that follows a row.
  private func token(for row: StepRow, _ line: [Float], _ sampling: Sampling) -> Int32 {
    var logits = line
    for bias in sampling.biases { logits[Int(bias.token)] += bias.value }
    if let mask = row.mask {
      // It says all that may be drawn. If that were suppressed, nothing would be left.
      mask.apply(to: &logits)
    } else {
      for token in suppressed { logits[Int(token)] = -.infinity }
    }
    return Sampler.sample(
      logits: logits,
      history: histories[row.slot],
      position: row.position,
      SamplingParameters(sampling)
    )
  }

  /// Adds to a result how likely the model held the drawn token to be, and which were likeliest.
  ///
  /// - Parameters:
  ///   - result: That of the row.
  ///   - line: The row's logits, as the model has computed them.
  ///   - count: How many of the likeliest tokens are told.
  private func score(_ result: inout RowResult, _ line: [Float], likeliest count: Int) {
    let softmax = LogSoftmax(line)
    result.logProbability = softmax.logProbability(ofLogit: line[Int(result.token)])
    result.likeliest = Sampler.likeliest(count, line).map { token in
      TokenScore(
        token: token,
        logProbability: softmax.logProbability(ofLogit: line[Int(token)])
      )
    }
  }
}

extension TokenMask {
  /// Makes the logits of tokens that may not be drawn minus infinity.
  fileprivate func apply(to logits: inout [Float]) {
    switch allowed {
    case .tokens(let tokens):
      let kept = tokens.map { logits[Int($0)] }
      for index in logits.indices { logits[index] = -.infinity }
      for (token, logit) in zip(tokens, kept) { logits[Int(token)] = logit }
    case .bits(let bits):
      for index in logits.indices where !TokenMask.isSet(index, in: bits) {
        logits[index] = -.infinity
      }
    }
  }
}

extension RowOutput {
  /// Returns what of it names no token of the vocabulary; nil if all is well.
  func complaint(vocabularySize: Int) -> String? {
    let vocabulary = 0..<vocabularySize
    switch self {
    case .none, .logits, .inputs: return nil
    case .score(let target):
      return vocabulary.contains(Int(target)) ? nil : "target \(target) outside \(vocabulary)"
    case .sample(let sampling):
      let bad = sampling.biases.first { !vocabulary.contains(Int($0.token)) }
      return bad.map { "bias of token \($0.token) outside \(vocabulary)" }
    }
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
      frequencyPenalty: sampling.frequencyPenalty,
      presencePenalty: sampling.presencePenalty,
      answerPosition: sampling.answerPosition,
      seed: sampling.seed
    )
  }
}
