// How answers look: one form for chats, one for completions, each whole and in pieces.

internal import Wire

/// The form of the answers of one route.
protocol AnswerForm: Sendable {
  /// `object` of an answer that comes whole, and of one that comes in pieces.
  var objects: (whole: String, piece: String) { get }
  /// What ids begin with.
  var idPrefix: String { get }

  /// What a choice begins with in a stream; nil for nothing.
  mutating func opening(_ index: Int) -> JSON?
  /// A piece of a choice in a stream; nil if there is nothing to tell yet.
  mutating func piece(_ index: Int, _ piece: AnswerPiece) -> JSON?
  /// The end of a choice in a stream.
  mutating func closing(_ index: Int, _ reason: String) -> JSON
  /// A whole choice.
  mutating func whole(_ index: Int, _ piece: AnswerPiece, _ reason: String) -> JSON
}

/// `chat.completion`: messages of the assistant.
struct ChatForm: AnswerForm {
  /// Whether log probabilities are told.
  var scores: Bool

  let objects = (whole: "chat.completion", piece: "chat.completion.chunk")
  let idPrefix = "chatcmpl-"

  func opening(_ index: Int) -> JSON? {
    choice(index, "delta", ["role": "assistant", "content": ""], nil, nil)
  }

  func piece(_ index: Int, _ piece: AnswerPiece) -> JSON? {
    var delta: [JSON.Member] = []
    if !piece.thought.isEmpty { delta.append(.init("reasoning_content", .string(piece.thought))) }
    if !piece.text.isEmpty { delta.append(.init("content", .string(piece.text))) }
    if !piece.calls.isEmpty {
      delta.append(.init("tool_calls", .array(piece.calls.map(Self.delta))))
    }
    // Log probabilities may come before the text that they made.
    guard !delta.isEmpty || scores && !piece.scored.isEmpty else { return nil }
    return choice(index, "delta", .object(delta), piece.scored, nil)
  }

  /// A part of a call: its first has its name, and the others only have more of the arguments.
  private static func delta(_ call: ToolCallPiece) -> JSON {
    let place = JSON.Member("index", .integer(call.index))
    guard call.name != nil else {
      return .object([place, .init("function", ["arguments": .string(call.arguments)])])
    }
    return .object([place] + members(call))
  }

  private static func members(_ call: ToolCallPiece) -> [JSON.Member] {
    [
      .init("id", .string(call.id)), .init("type", "function"),
      .init("function", ["name": JSON(call.name), "arguments": .string(call.arguments)]),
    ]
  }

  func closing(_ index: Int, _ reason: String) -> JSON { choice(index, "delta", [:], nil, reason) }

  func whole(_ index: Int, _ piece: AnswerPiece, _ reason: String) -> JSON {
    var message: [JSON.Member] = [
      .init("role", "assistant"),
      .init(
        "content",
        piece.calls.isEmpty || !piece.text.isEmpty ? .string(piece.text) : .null
      ),
      .init("refusal", .null),
    ]
    if !piece.thought.isEmpty { message.append(.init("reasoning_content", .string(piece.thought))) }
    if !piece.calls.isEmpty {
      message.append(.init("tool_calls", .array(piece.calls.map { .object(Self.members($0)) })))
    }
    return choice(index, "message", .object(message), piece.scored, reason)
  }

  private func choice(
    _ index: Int,
    _ name: String,
    _ value: JSON,
    _ scored: [DrawnToken]?,
    _ reason: String?
  ) -> JSON {
    let logProbabilities: JSON =
      scores && scored != nil
      ? ["content": .array((scored ?? []).map(Self.entry)), "refusal": .null] : .null
    return [
      "index": .integer(index), name: value, "logprobs": logProbabilities,
      "finish_reason": JSON(reason),
    ]
  }

  private static func entry(_ token: DrawnToken) -> JSON {
    guard case .object(var members) = entry(token.drawn) else { return .null }
    members.append(.init("top_logprobs", .array(token.likeliest.map { entry($0) })))
    return .object(members)
  }

  private static func entry(_ token: ScoredToken) -> JSON {
    [
      "token": .string(token.text), "logprob": .number(token.logProbability),
      "bytes": .array(token.piece.map { .integer(Int($0)) }),
    ]
  }
}

/// `text_completion`: texts that go on.
struct CompletionForm: AnswerForm {
  var scores: Bool
  /// What each choice begins with, for requests that want their prompts back.
  var echoes: [Echo]
  /// By choice: where the next token's text begins.
  private var offsets: [Int: Int] = [:]

  let objects = (whole: "text_completion", piece: "text_completion")
  let idPrefix = "cmpl-"

  init(scores: Bool, echoes: [Echo]) {
    self.scores = scores
    self.echoes = echoes
  }

  mutating func opening(_ index: Int) -> JSON? {
    guard !echoes.isEmpty else { return nil }
    let echo = echoes[index]
    return choice(index, echo.text, logProbabilities(index, echo.scored ?? []), nil)
  }

  mutating func piece(_ index: Int, _ piece: AnswerPiece) -> JSON? {
    choice(index, piece.thought + piece.text, logProbabilities(index, piece.scored), nil)
  }

  func closing(_ index: Int, _ reason: String) -> JSON { choice(index, "", nil, reason) }

  mutating func whole(_ index: Int, _ piece: AnswerPiece, _ reason: String) -> JSON {
    let echo = echoes.isEmpty ? nil : echoes[index]
    return choice(
      index,
      (echo?.text ?? "") + piece.thought + piece.text,
      logProbabilities(index, (echo?.scored ?? []) + piece.scored),
      reason
    )
  }

  private func choice(_ index: Int, _ text: String, _ scores: JSON?, _ reason: String?) -> JSON {
    [
      "text": .string(text), "index": .integer(index), "logprobs": scores ?? .null,
      "finish_reason": JSON(reason),
    ]
  }

  /// The old form: lists side by side.
  ///
  /// The token that was drawn is always among the likeliest, with the same
  /// number, since programs compare it with the largest.
  private mutating func logProbabilities(_ index: Int, _ tokens: [DrawnToken]) -> JSON? {
    guard scores else { return nil }
    let isStart = offsets[index] == nil
    // Nothing comes before the first token of a prompt that is told back.
    let unscored = isStart && !echoes.isEmpty && echoes[index].scored != nil ? 1 : 0
    var places: [JSON] = []
    var offset = offsets[index] ?? 0
    for (place, token) in tokens.enumerated() {
      places.append(.integer(offset))
      // A token that begins a text is no part of it.
      if place >= unscored || !token.drawn.isSpecial {
        offset += token.drawn.text.unicodeScalars.count
      }
    }
    offsets[index] = offset
    func after<Value>(_ value: (DrawnToken) -> Value, _ none: Value) -> [Value] {
      tokens.enumerated().map { $0 < unscored ? none : value($1) }
    }
    return [
      "tokens": .array(tokens.map { .string($0.drawn.text) }),
      "token_logprobs": .array(after({ .number($0.drawn.logProbability) }, .null)),
      "top_logprobs": .array(after(Self.likeliest, .null)),
      "text_offset": .array(places),
    ]
  }

  private static func likeliest(_ token: DrawnToken) -> JSON {
    var members: [JSON.Member] = []
    var names: Set<String> = []
    for each in [token.drawn] + token.likeliest where names.insert(each.text).inserted {
      members.append(.init(each.text, .number(each.logProbability)))
    }
    return .object(members)
  }
}

extension ScoredToken {
  /// The text of a token, for people: a part of a character is written as bytes.
  fileprivate var text: String {
    if let text = String(validating: piece, as: UTF8.self) { return text }
    return "bytes:"
      + piece.map { byte in
        let digits = String(byte, radix: 16)
        return "\\x" + (digits.count < 2 ? "0" : "") + digits
      }.joined()
  }
}
