// What clients ask, in protobuf-c's structs and back.

internal import WireMessages

extension Generate {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Generate> {
    let c = unsafe packer.make(trestle__generate__init)
    unsafe c.pointee.request = request
    switch prompt {
    case .text(let text):
      unsafe c.pointee.prompt_case = TRESTLE__GENERATE__PROMPT_TEXT
      unsafe c.pointee.text = packer.text(text, "Generate.text", limit: Limits.textBytes)
    case .tokens(let tokens):
      let list = unsafe packer.make(trestle__token_list__init)
      unsafe (list.pointee.n_tokens, list.pointee.tokens) = packer.tokens(tokens, "Generate.tokens")
      unsafe c.pointee.prompt_case = TRESTLE__GENERATE__PROMPT_TOKENS
      unsafe c.pointee.tokens = list
    }
    unsafe c.pointee.applies_chat_template = appliesChatTemplate ? 1 : 0
    unsafe c.pointee.parses_special = parsesSpecial ? 1 : 0
    unsafe c.pointee.max_tokens = packer.integer(
      maxTokens,
      "Generate.maxTokens",
      limit: Limits.positions
    )
    unsafe c.pointee.sampling = sampling.packed(packer)
    unsafe (c.pointee.n_stops, c.pointee.stops) = packer.texts(
      stops,
      "Generate.stops",
      count: Limits.stops,
      limit: Limits.stopBytes
    )
    unsafe c.pointee.ignores_end_of_turn = ignoresEndOfTurn ? 1 : 0
    return unsafe c
  }

  init(unpacking c: Trestle__Generate) throws(WireError) {
    try unsafe Unpack.known(c.base, "Generate")
    try unsafe self.init(
      request: c.request,
      prompt: Prompt(unpacking: c),
      appliesChatTemplate: c.applies_chat_template != 0,
      parsesSpecial: c.parses_special != 0,
      maxTokens: Unpack.integer(c.max_tokens, "Generate.maxTokens", limit: Limits.positions),
      sampling: Sampling(unpacking: Unpack.required(c.sampling, "Generate.sampling")),
      stops: Unpack.texts(
        c.n_stops,
        c.stops,
        "Generate.stops",
        count: Limits.stops,
        limit: Limits.stopBytes
      ),
      ignoresEndOfTurn: c.ignores_end_of_turn != 0
    )
  }
}

extension Prompt {
  init(unpacking c: Trestle__Generate) throws(WireError) {
    switch unsafe c.prompt_case {
    case TRESTLE__GENERATE__PROMPT_TEXT:
      self = try unsafe .text(Unpack.text(c.text, "Generate.text", limit: Limits.textBytes))
    case TRESTLE__GENERATE__PROMPT_TOKENS:
      let list = try unsafe Unpack.required(c.tokens, "Generate.tokens")
      try unsafe Unpack.known(list.base, "TokenList")
      self = try unsafe .tokens(Unpack.tokens(list.n_tokens, list.tokens, "Generate.tokens"))
    default: throw WireError(.malformed, "neither text nor tokens", context: "Generate.prompt")
    }
  }
}

extension Evaluate {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Evaluate> {
    let c = unsafe packer.make(trestle__evaluate__init)
    unsafe c.pointee.request = request
    unsafe (c.pointee.n_tokens, c.pointee.tokens) = packer.tokens(tokens, "Evaluate.tokens")
    unsafe c.pointee.kind = Trestle__EvaluationKind(kind.rawValue)
    unsafe c.pointee.first_scored = packer.integer(
      firstScored,
      "Evaluate.firstScored",
      limit: Limits.tokens
    )
    return unsafe c
  }

  init(unpacking c: Trestle__Evaluate) throws(WireError) {
    try unsafe Unpack.known(c.base, "Evaluate")
    try unsafe self.init(
      request: c.request,
      tokens: Unpack.tokens(c.n_tokens, c.tokens, "Evaluate.tokens"),
      kind: Unpack.enumeration(c.kind.rawValue, "Evaluate.kind"),
      firstScored: Unpack.integer(c.first_scored, "Evaluate.firstScored", limit: Limits.tokens)
    )
  }
}

extension Cancel {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Cancel> {
    let c = unsafe packer.make(trestle__cancel__init)
    unsafe c.pointee.request = request
    return unsafe c
  }

  init(unpacking c: Trestle__Cancel) throws(WireError) {
    try unsafe Unpack.known(c.base, "Cancel")
    unsafe self.init(
      request: c.request
    )
  }
}

extension Receipt {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Receipt> {
    let c = unsafe packer.make(trestle__receipt__init)
    unsafe c.pointee.messages = packer.integer(messages, "Receipt.messages", limit: Limits.queue)
    unsafe (c.pointee.n_awaited, c.pointee.awaited) = packer.numbers(
      awaited,
      "Receipt.awaited",
      limit: Limits.awaited
    )
    unsafe c.pointee.proof = proof
    return unsafe c
  }

  init(unpacking c: Trestle__Receipt) throws(WireError) {
    try unsafe Unpack.known(c.base, "Receipt")
    try unsafe self.init(
      messages: Unpack.integer(c.messages, "Receipt.messages", limit: Limits.queue),
      awaited: Unpack.numbers(c.n_awaited, c.awaited, "Receipt.awaited", limit: Limits.awaited),
      proof: c.proof
    )
  }
}

extension StatusRequest {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__StatusRequest> {
    let c = unsafe packer.make(trestle__status_request__init)
    unsafe c.pointee.request = request
    return unsafe c
  }

  init(unpacking c: Trestle__StatusRequest) throws(WireError) {
    try unsafe Unpack.known(c.base, "StatusRequest")
    unsafe self.init(
      request: c.request
    )
  }
}

extension HealthRequest {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__HealthRequest> {
    let c = unsafe packer.make(trestle__health_request__init)
    unsafe c.pointee.request = request
    unsafe c.pointee.runs_self_test = runsSelfTest ? 1 : 0
    return unsafe c
  }

  init(unpacking c: Trestle__HealthRequest) throws(WireError) {
    try unsafe Unpack.known(c.base, "HealthRequest")
    unsafe self.init(
      request: c.request,
      runsSelfTest: c.runs_self_test != 0
    )
  }
}

extension Rebalance {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Rebalance> {
    let c = unsafe packer.make(trestle__rebalance__init)
    unsafe c.pointee.request = request
    unsafe (c.pointee.n_split, c.pointee.split) = packer.integers(
      split,
      "Rebalance.split",
      count: Limits.workers,
      limit: Limits.layers
    )
    unsafe (c.pointee.n_logits_split, c.pointee.logits_split) = packer.integers(
      logitsSplit,
      "Rebalance.logitsSplit",
      count: Limits.workers,
      limit: Limits.vocabulary
    )
    return unsafe c
  }

  init(unpacking c: Trestle__Rebalance) throws(WireError) {
    try unsafe Unpack.known(c.base, "Rebalance")
    try unsafe self.init(
      request: c.request,
      split: Unpack.integers(
        c.n_split,
        c.split,
        "Rebalance.split",
        count: Limits.workers,
        limit: Limits.layers
      ),
      logitsSplit: Unpack.integers(
        c.n_logits_split,
        c.logits_split,
        "Rebalance.logitsSplit",
        count: Limits.workers,
        limit: Limits.vocabulary
      )
    )
  }
}

extension Drain {
  func packed(_ packer: Packer) -> UnsafeMutablePointer<Trestle__Drain> {
    let c = unsafe packer.make(trestle__drain__init)
    unsafe c.pointee.request = request
    unsafe c.pointee.worker = packer.text(worker, "Drain.worker", limit: Limits.nameBytes)
    return unsafe c
  }

  init(unpacking c: Trestle__Drain) throws(WireError) {
    try unsafe Unpack.known(c.base, "Drain")
    try unsafe self.init(
      request: c.request,
      worker: Unpack.text(c.worker, "Drain.worker", limit: Limits.nameBytes)
    )
  }
}
