// What requests for a chat and for a completion have in common: how to draw tokens, when to end, what to tell.

internal import Wire

/// How an answer is made.
struct GenerationOptions {
  /// nil: as many as the context holds.
  var maxTokens: Int?
  var minTokens: Int
  var ignoresEndOfTurn: Bool
  /// Without a seed.
  var sampling: Sampling
  /// nil: another one each time.
  var seed: UInt64?
  var stops: [String]
  var choices: Int
  var streams: Bool
  var includesUsage: Bool
  /// What the answer must conform to; nil if anything is good.
  var grammar: AnswerGrammar?
  /// The field that the grammar comes from.
  var grammarField: String

  /// Gemma's own advice; without it, one token in some hundred comes from the far tail.
  private static let usualTopK = 64

  init(_ fields: Fields) throws(APIError) {
    let most = Limits.positions
    let former = try fields.integer("max_tokens", 1...most)
    maxTokens = try fields.integer("max_completion_tokens", 1...most) ?? former
    minTokens = try fields.integer("min_tokens", 0...most) ?? 0
    ignoresEndOfTurn = try fields.bool("ignore_eos") ?? false
    choices = try fields.integer("n", 1...128) ?? 1
    seed = try Self.seed(fields)
    stops = try Self.stops(fields)
    streams = try fields.bool("stream") ?? false
    includesUsage = false
    grammar = try Self.grammar(fields)
    grammarField = fields["grammar"] == nil ? "response_format" : "grammar"
    let llamaPenalty = try fields.number("repeat_penalty", 0.01...100)
    sampling = Sampling(
      temperature: Float(try fields.number("temperature", 0...2) ?? 1),
      topK: try fields.integer("top_k", -1...Limits.vocabulary).map { max(0, $0) }
        ?? Self.usualTopK,
      topP: Float(try fields.number("top_p", 0...1) ?? 1),
      minP: Float(try fields.number("min_p", 0...1) ?? 0),
      repeatPenalty: Float(
        try fields.number("repetition_penalty", 0.01...100) ?? llamaPenalty ?? 1
      ),
      repeatWindow: 64,
      seed: 0
    )
    // Nothing is left of no probability but the most likely token.
    if sampling.topP == 0 { (sampling.topP, sampling.topK) = (1, 1) }
    sampling.frequencyPenalty = Float(try fields.number("frequency_penalty", -2...2) ?? 0)
    sampling.presencePenalty = Float(try fields.number("presence_penalty", -2...2) ?? 0)
    sampling.biases = try Self.biases(fields)
    try checkEnd(fields)
    if let options = try fields.object("stream_options") {
      guard streams else {
        throw fields.error("stream_options", "is there, but stream is not true")
      }
      includesUsage = try options.bool("include_usage") ?? false
    }
  }

  /// Refuses an answer that must end somewhere and is told not to.
  func checkEnd(_ fields: Fields) throws(APIError) {
    guard ignoresEndOfTurn, let grammar else { return }
    if case .calls(let calls) = grammar, !calls.isRequired, calls.only.isEmpty, calls.words.isEmpty
    {
      return
    }
    throw fields.error(
      "ignore_eos",
      "is true, but an answer that follows a grammar ends where that does"
    )
  }

  /// What `response_format` asks for, or llama.cpp's `grammar`.
  private static func grammar(_ fields: Fields) throws(APIError) -> AnswerGrammar? {
    let gbnf = try fields.string("grammar")
    guard let format = try fields.object("response_format") else { return gbnf.map { .gbnf($0) } }
    guard gbnf == nil else {
      throw fields.error("grammar", "and response_format are both there; leave out either")
    }
    switch try format.string("type") {
    case "text": return nil
    case "json_object": return .object
    case "json_schema":
      // The interface of responses has it without this object.
      let named = try format.object("json_schema") ?? format
      let schema = try named.required("schema")
      guard case .object = schema else { throw named.error("schema", "is no object") }
      let text = schema.text
      return try named.bool("strict") ?? false ? .strictSchema(text) : .schema(text)
    case let type:
      throw format.error(
        "type",
        "is \"\(type?.prefix(80) ?? "missing")\", not one of text, json_object, json_schema"
      )
    }
  }

  private static func seed(_ fields: Fields) throws(APIError) -> UInt64? {
    guard let value = fields["seed"] else { return nil }
    guard case .integer(let seed) = value else {
      throw fields.error("seed", "is \(value.kind), not an integer of 64 bits")
    }
    return UInt64(bitPattern: Int64(seed))
  }

  private static func stops(_ fields: Fields) throws(APIError) -> [String] {
    let stops = try fields.strings("stop") ?? []
    guard stops.count <= Limits.stops else {
      throw fields.error("stop", "has \(stops.count) texts; at most \(Limits.stops) are allowed")
    }
    for stop in stops {
      if stop.isEmpty { throw fields.error("stop", "has an empty text") }
      if stop.utf8.count > Limits.stopBytes {
        throw fields.error(
          "stop",
          "has a text of \(stop.utf8.count) bytes; at most \(Limits.stopBytes)"
        )
      }
    }
    return stops
  }

  private static func biases(_ fields: Fields) throws(APIError) -> [TokenBias] {
    guard let value = fields["logit_bias"] else { return [] }
    guard case .object(let members) = value else {
      throw fields.error("logit_bias", "is \(value.kind), not an object of token ids")
    }
    // Some are kept for tokens that must not end the turn early.
    let most = Limits.biases - 64
    guard members.count <= most else {
      throw fields.error("logit_bias", "has \(members.count) tokens; at most \(most) are allowed")
    }
    let numbers = try Fields(value, path: "logit_bias")
    var biases: [TokenBias] = []
    for member in members {
      guard member.name.allSatisfy(\.isASCIIDigit), let token = Int32(member.name) else {
        throw fields.error("logit_bias", "has \"\(member.name.prefix(80))\", which is no token id")
      }
      guard let bias = try numbers.number(member.name, -100...100) else { continue }
      biases.append(TokenBias(token: token, value: Float(bias)))
    }
    return biases
  }

  /// Returns how choice `index` draws: from the same numbers each time if there is a seed.
  func sampling(choice index: Int) -> Sampling {
    var own = sampling
    let seed = seed ?? UInt64.random(in: .min ... .max)
    own.seed = seed &+ UInt64(index) &* 0x9E37_79B9_7F4A_7C15
    return own
  }

  /// The request for a choice.
  func generate(_ prompt: Prompt, choice index: Int) -> Generate {
    Generate(
      request: 0,
      prompt: prompt,
      appliesChatTemplate: false,
      parsesSpecial: false,
      maxTokens: maxTokens ?? Limits.positions,
      sampling: sampling(choice: index),
      stops: stops,
      ignoresEndOfTurn: ignoresEndOfTurn,
      minTokens: ignoresEndOfTurn ? 0 : minTokens,
      rule: grammar.map { AnswerRule(grammar: $0) }
    )
  }
}

extension Character {
  fileprivate var isASCIIDigit: Bool { isASCII && isNumber }
}
