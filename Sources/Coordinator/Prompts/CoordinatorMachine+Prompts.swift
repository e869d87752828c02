// Texts and conversations on their way to tokens: short ones at once, long ones on the desk's thread, those
// that cannot fit not at all.

internal import ModelFiles
internal import Wire

extension CoordinatorMachine {
  /// Opens a session for a prompt's tokens: at once, or when a long one has been tokenized elsewhere.
  mutating func encode(_ source: PromptSource, _ generate: Generate, _ peer: PeerID) {
    // A grammar is compiled elsewhere, too: it may take long, whatever the prompt.
    guard source.encodingCost > PromptEncoder.mostCostAtOnce || generate.rule != nil else {
      let prompt = Result { () throws(PromptError) in try encoder.encode(source, nil) }
      encoded(prompt, generate, peer)
      return
    }
    let least = encoder.leastTokens(of: source)
    guard least <= limits.contextTokens else {
      turnAway(
        generate.request,
        peer,
        .tooLong,
        "the prompt has \(source.byteCount) bytes, which are \(least) tokens or more; "
          + "the context holds \(limits.contextTokens); shorten it or start with a larger --context"
      )
      return
    }
    guard requests.encodingCount < limits.queuedSessions else {
      let reason = "\(requests.encodingCount) prompts wait to be tokenized already"
      turnAway(generate.request, peer, .busy, reason)
      return
    }
    var rest = generate
    rest.prompt = .tokens([])
    let id = sessions.takeNumber()
    requests.beginEncoding(EncodingPrompt(peer: peer, generate: rest), as: id)
    act(.encode(UnencodedPrompt(id: id, source: source, rule: rest.rule)))
  }

  /// Takes the tokens of a prompt, unless nobody waits for them any more.
  mutating func encoded(_ id: UInt64, _ encoded: Result<EncodedPrompt, PromptError>) {
    guard let prompt = requests.endEncoding(id) else { return }
    self.encoded(encoded, prompt.generate, prompt.peer)
  }

  private mutating func encoded(
    _ prompt: Result<EncodedPrompt, PromptError>,
    _ generate: Generate,
    _ peer: PeerID
  ) {
    switch prompt {
    case .success(let prompt): open(prompt, generate, peer)
    case .failure(let error): turnAway(generate.request, peer, error.code, error.message)
    }
  }

  /// Drops prompts that are being tokenized; returns how many there were.
  mutating func forgetEncoding(where matches: (EncodingPrompt) -> Bool) -> Int {
    let ids = requests.beingEncoded.filter { matches($0.prompt) }.map(\.number)
    for id in ids {
      _ = requests.endEncoding(id)
      act(.forgetEncoding(id))
    }
    return ids.count
  }
}
