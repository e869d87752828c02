// Anthropic's interface: messages of typed blocks, and a stream that opens and closes each.

internal import Wire

/// Anthropic's messages.
struct MessagesDialect: AnswerDialect {
  var id: String
  var model: String
  var promptTokens: Int
  private var open: (index: Int, block: Block)?

  /// What a block holds.
  private enum Block: Hashable {
    case thought
    case text
    case call(id: String, name: String)

    /// The block before anything has come of it.
    var empty: JSON {
      switch self {
      case .thought: ["type": "thinking", "thinking": "", "signature": ""]
      case .text: ["type": "text", "text": ""]
      case .call(let id, let name):
        ["type": "tool_use", "id": .string(id), "name": .string(name), "input": [:]]
      }
    }
  }

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
    switch answer.end(of: 0) {
    case .turn: ("end_turn", nil)
    case .stop(let text): ("stop_sequence", text)
    case .length: ("max_tokens", nil)
    case .calls: ("tool_use", nil)
    }
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
    if !piece.thought.isEmpty {
      events += begin(.thought)
      events.append(delta(["type": "thinking_delta", "thinking": .string(piece.thought)]))
    }
    if !piece.text.isEmpty {
      events += begin(.text)
      events.append(delta(["type": "text_delta", "text": .string(piece.text)]))
    }
    for call in piece.calls {
      if let name = call.name { events += begin(.call(id: call.id, name: name)) }
      guard !call.arguments.isEmpty else { continue }
      events.append(delta(["type": "input_json_delta", "partial_json": .string(call.arguments)]))
    }
    return events
  }

  private func delta(_ delta: JSON) -> ServerEvent {
    let index = JSON.integer(open?.index ?? 0)
    return ServerEvent(
      "content_block_delta",
      ["type": "content_block_delta", "index": index, "delta": delta]
    )
  }

  /// Opens a block, unless it is open.
  private mutating func begin(_ block: Block) -> [ServerEvent] {
    if let open, open.block == block { return [] }
    let end = end()
    let index = (open?.index ?? -1) + 1
    open = (index, block)
    let start: JSON = [
      "type": "content_block_start", "index": .integer(index), "content_block": block.empty,
    ]
    return end + [ServerEvent("content_block_start", start)]
  }

  private func end() -> [ServerEvent] {
    guard let open else { return [] }
    let document: JSON = ["type": "content_block_stop", "index": .integer(open.index)]
    return [ServerEvent("content_block_stop", document)]
  }

  mutating func closing(_ choice: Int, _ answer: CollectedAnswer) -> [ServerEvent] {
    let begun = open == nil ? begin(.text) : []
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
    var blocks: [JSON] = []
    if !piece.thought.isEmpty {
      blocks.append(["type": "thinking", "thinking": .string(piece.thought), "signature": ""])
    }
    if !piece.text.isEmpty || piece.calls.isEmpty {
      blocks.append(["type": "text", "text": .string(piece.text)])
    }
    for call in piece.calls {
      // Arguments that were cut short are no object.
      let input = try? JSON(parsing: Array(call.arguments.utf8))
      blocks.append([
        "type": "tool_use", "id": .string(call.id), "name": JSON(call.name), "input": input ?? [:],
      ])
    }
    let (reason, stop) = Self.end(answer)
    return message(blocks, reason, stop, Self.usage(answer))
  }
}

extension APIError {
  /// The error in Anthropic's form.
  var messagesDocument: JSON {
    let type =
      switch status {
      case 401: "authentication_error"
      case 403: "permission_error"
      case 404: "not_found_error"
      case 413: "request_too_large"
      case 429: "rate_limit_error"
      case 400..<500: "invalid_request_error"
      case 503: "overloaded_error"
      default: "api_error"
      }
    let text = JSON.string(messagesMessage ?? message)
    return ["type": "error", "error": ["type": .string(type), "message": text]]
  }
}
