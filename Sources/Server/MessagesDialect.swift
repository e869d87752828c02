// Anthropic's interface: messages of typed blocks, and a stream that opens and closes each.

internal import Gemma
internal import Wire

/// The body of a request for a message.
struct MessagesRequest {
  var chat: ChatRequest

  init(_ body: JSON) throws(APIError) {
    let fields = try Fields(body)
    var messages: [JSON] = []
    if let system = fields["system"] {
      messages.append(["role": "system", "content": try Self.content(system, fields, "system")])
    }
    guard let values = try fields.array("messages") else {
      throw fields.error("messages", "is missing")
    }
    for (index, value) in values.enumerated() {
      let message = try Fields(value, path: "messages[\(index)]")
      messages.append([
        "role": .string(try message.string("role") ?? ""),
        "content": try Self.content(try message.required("content"), message, "content"),
      ])
    }
    guard fields["tools"] == nil else {
      throw fields.error("tools", "are not known to this interface here; use /v1/chat/completions")
    }
    var members: [JSON.Member] = [.init("messages", .array(messages))]
    guard fields["max_tokens"] != nil else { throw fields.error("max_tokens", "is missing") }
    for (theirs, ours) in [
      ("model", "model"), ("max_tokens", "max_tokens"), ("temperature", "temperature"),
      ("top_p", "top_p"), ("top_k", "top_k"), ("stop_sequences", "stop"), ("stream", "stream"),
    ] {
      if let value = fields[theirs] { members.append(.init(ours, value)) }
    }
    chat = try ChatRequest(.object(members))
  }

  /// A text, or blocks that are texts or results of tools.
  private static func content(
    _ value: JSON,
    _ fields: Fields,
    _ name: String
  ) throws(APIError) -> JSON {
    guard case .array(let blocks) = value else { return value }
    var texts: [String] = []
    for (index, block) in blocks.enumerated() {
      let block = try Fields(block, path: "\(fields.path(name))[\(index)]")
      switch try block.string("type") {
      case "text": texts.append(try block.string("text") ?? "")
      case let type:
        throw block.error("type", "is \"\(type ?? "missing")\"; this model reads text alone")
      }
    }
    return .string(texts.joined(separator: "\n"))
  }
}

/// Anthropic's messages.
struct MessagesDialect: AnswerDialect {
  var id: String
  var model: String
  var promptTokens: Int
  /// The block that is open: 0 of thoughts, 1 of text.
  private var open: (index: Int, isThought: Bool)?

  init(id: String, model: String, promptTokens: Int) {
    self.id = id
    self.model = model
    self.promptTokens = promptTokens
  }

  private func message(_ content: [JSON], _ reason: String?, _ stop: String?, _ usage: JSON) -> JSON
  {
    [
      "id": .string(id), "type": "message", "role": "assistant", "model": .string(model),
      "content": .array(content), "stop_reason": JSON(reason), "stop_sequence": JSON(stop),
      "usage": usage,
    ]
  }

  private static func end(_ answer: CollectedAnswer) -> (reason: String, stop: String?) {
    let stop = answer.usage.finished[0]?.stop ?? ""
    if answer.reason(0) == .length { return ("max_tokens", nil) }
    return stop.isEmpty ? ("end_turn", nil) : ("stop_sequence", stop)
  }

  private static func usage(_ answer: CollectedAnswer) -> JSON {
    let end = answer.usage.finished[0]
    let cached = end?.cachedTokens ?? 0
    return [
      "input_tokens": .integer((end?.promptTokens ?? 0) - cached),
      "cache_read_input_tokens": .integer(cached), "cache_creation_input_tokens": 0,
      "output_tokens": .integer(end?.generatedTokens ?? 0),
    ]
  }

  func opening() -> [ServerEvent] {
    let usage: JSON = ["input_tokens": .integer(promptTokens), "output_tokens": 0]
    return [
      ServerEvent(
        "message_start",
        ["type": "message_start", "message": message([], nil, nil, usage)]
      )
    ]
  }

  mutating func piece(_ choice: Int, _ piece: AnswerPiece) -> [ServerEvent] {
    var events: [ServerEvent] = []
    for (text, isThought) in [(piece.thought, true), (piece.text, false)] where !text.isEmpty {
      events += begin(isThought: isThought)
      let delta: JSON =
        isThought
        ? ["type": "thinking_delta", "thinking": .string(text)]
        : ["type": "text_delta", "text": .string(text)]
      events.append(
        ServerEvent(
          "content_block_delta",
          ["type": "content_block_delta", "index": .integer(open?.index ?? 0), "delta": delta]
        )
      )
    }
    return events
  }

  /// Opens a block, unless it is open.
  private mutating func begin(isThought: Bool) -> [ServerEvent] {
    if let open, open.isThought == isThought { return [] }
    var events = end()
    let index = (open?.index ?? -1) + 1
    open = (index, isThought)
    events.append(
      ServerEvent(
        "content_block_start",
        [
          "type": "content_block_start", "index": .integer(index),
          "content_block": Self.block("", isThought: isThought),
        ]
      )
    )
    return events
  }

  private func end() -> [ServerEvent] {
    guard let open else { return [] }
    let document: JSON = ["type": "content_block_stop", "index": .integer(open.index)]
    return [ServerEvent("content_block_stop", document)]
  }

  private static func block(_ text: String, isThought: Bool) -> JSON {
    isThought
      ? ["type": "thinking", "thinking": .string(text), "signature": ""]
      : ["type": "text", "text": .string(text)]
  }

  mutating func closing(_ choice: Int, _ answer: CollectedAnswer) -> [ServerEvent] {
    let begun = open == nil ? begin(isThought: false) : []
    let (reason, stop) = Self.end(answer)
    let delta: JSON = ["stop_reason": .string(reason), "stop_sequence": JSON(stop)]
    return begun + end() + [
      ServerEvent(
        "message_delta",
        ["type": "message_delta", "delta": delta, "usage": Self.usage(answer)]
      )
    ]
  }

  func ending(_ answer: CollectedAnswer) -> [ServerEvent] {
    [ServerEvent("message_stop", ["type": "message_stop"])]
  }

  func failure(_ error: APIError) -> ServerEvent { ServerEvent("error", error.messagesDocument) }

  func whole(_ answer: CollectedAnswer) -> JSON {
    let piece = answer.pieces[0]
    let thoughts = piece.thought.isEmpty ? [] : [Self.block(piece.thought, isThought: true)]
    let (reason, stop) = Self.end(answer)
    return message(
      thoughts + [Self.block(piece.text, isThought: false)],
      reason,
      stop,
      Self.usage(answer)
    )
  }
}

extension APIError {
  /// The error in Anthropic's form.
  var messagesDocument: JSON {
    let type =
      switch status {
      case 401: "authentication_error"
      case 404: "not_found_error"
      case 429: "rate_limit_error"
      case 400..<500: "invalid_request_error"
      case 503: "overloaded_error"
      default: "api_error"
      }
    return ["type": "error", "error": ["type": .string(type), "message": .string(message)]]
  }
}
