// OpenAI's responses, without a memory of earlier ones: typed items, and a stream of numbered events.

internal import Gemma
internal import Wire

/// The body of a request for a response.
struct ResponsesRequest {
  var chat: ChatRequest

  init(_ body: JSON) throws(APIError) {
    let fields = try Fields(body)
    for name in ["previous_response_id", "conversation"] where fields[name] != nil {
      throw fields.error(name, "is there, but this server keeps no responses; send the whole input")
    }
    if try fields.bool("background") == true {
      throw fields.error("background", "is true, but this server keeps no responses")
    }
    var messages: [JSON] = []
    if let instructions = try fields.string("instructions") {
      messages.append(["role": "system", "content": .string(instructions)])
    }
    switch try fields.required("input") {
    case .string(let text): messages.append(["role": "user", "content": .string(text)])
    case .array(let items):
      for (index, item) in items.enumerated() {
        let item = try Fields(item, path: "input[\(index)]")
        let type = try item.string("type") ?? "message"
        guard type == "message" else {
          throw item.error("type", "is \"\(type.prefix(80))\"; this server reads messages alone")
        }
        messages.append([
          "role": .string(try item.string("role") ?? ""), "content": try item.required("content"),
        ])
      }
    case let value: throw fields.error("input", "is \(value.kind), not a text or items")
    }
    if let tools = try fields.array("tools"), !tools.isEmpty {
      throw fields.error("tools", "are not known to this interface here; use /v1/chat/completions")
    }
    var members: [JSON.Member] = [.init("messages", .array(messages))]
    for (theirs, ours) in [
      ("model", "model"), ("max_output_tokens", "max_completion_tokens"),
      ("temperature", "temperature"), ("top_p", "top_p"), ("stream", "stream"), ("seed", "seed"),
    ] {
      if let value = fields[theirs] { members.append(.init(ours, value)) }
    }
    if let format = try fields.object("text")?["format"] {
      members.append(.init("response_format", format))
    }
    chat = try ChatRequest(.object(members))
  }
}

/// OpenAI's responses.
struct ResponsesDialect: AnswerDialect {
  var head: AnswerHead
  private var sequence = 0

  init(head: AnswerHead) { self.head = head }

  private var itemID: String { head.id.replacing("resp_", with: "msg_") }

  private func response(_ status: String, _ output: [JSON], _ answer: CollectedAnswer?) -> JSON {
    let isCut = answer?.reason(0) == .length
    let details: JSON = isCut ? ["reason": "max_output_tokens"] : .null
    return [
      "id": .string(head.id), "object": "response", "created_at": .integer(head.created),
      "status": .string(isCut ? "incomplete" : status), "model": .string(head.model),
      "output": .array(output), "error": .null, "incomplete_details": details,
      "instructions": .null, "metadata": [:], "parallel_tool_calls": true, "tool_choice": "auto",
      "tools": [], "store": false, "temperature": .null, "top_p": .null,
      "text": ["format": ["type": "text"]], "truncation": "disabled",
      "usage": answer.map(Self.usage) ?? .null,
    ]
  }

  private static func usage(_ answer: CollectedAnswer) -> JSON {
    let end = answer.usage.finished[0]
    let (prompt, generated) = (end?.promptTokens ?? 0, end?.generatedTokens ?? 0)
    return [
      "input_tokens": .integer(prompt),
      "input_tokens_details": ["cached_tokens": .integer(end?.cachedTokens ?? 0)],
      "output_tokens": .integer(generated),
      "output_tokens_details": ["reasoning_tokens": .integer(end?.thoughtTokens ?? 0)],
      "total_tokens": .integer(prompt + generated),
    ]
  }

  private static func part(_ text: String) -> JSON {
    ["type": "output_text", "text": .string(text), "annotations": [], "logprobs": []]
  }

  private func item(_ status: String, _ content: [JSON]) -> JSON {
    [
      "id": .string(itemID), "type": "message", "role": "assistant", "status": .string(status),
      "content": .array(content),
    ]
  }

  private mutating func event(_ name: String, _ members: [JSON.Member]) -> ServerEvent {
    defer { sequence += 1 }
    let first: [JSON.Member] = [
      .init("type", .string(name)), .init("sequence_number", .integer(sequence)),
    ]
    return ServerEvent(name, .object(first + members))
  }

  /// Where a part of the text belongs.
  private var place: [JSON.Member] {
    [
      .init("item_id", .string(itemID)), .init("output_index", 0), .init("content_index", 0),
    ]
  }

  mutating func opening() -> [ServerEvent] {
    let begun = response("in_progress", [], nil)
    return [
      event("response.created", [.init("response", begun)]),
      event("response.in_progress", [.init("response", begun)]),
      event(
        "response.output_item.added",
        [.init("output_index", 0), .init("item", item("in_progress", []))]
      ),
      event("response.content_part.added", place + [.init("part", Self.part(""))]),
    ]
  }

  mutating func piece(_ choice: Int, _ piece: AnswerPiece) -> [ServerEvent] {
    guard !piece.text.isEmpty else { return [] }
    return [
      event(
        "response.output_text.delta",
        place + [.init("delta", .string(piece.text)), .init("logprobs", [])]
      )
    ]
  }

  mutating func closing(_ choice: Int, _ answer: CollectedAnswer) -> [ServerEvent] {
    let text = answer.pieces[0].text
    return [
      event(
        "response.output_text.done",
        place + [.init("text", .string(text)), .init("logprobs", [])]
      ),
      event("response.content_part.done", place + [.init("part", Self.part(text))]),
      event(
        "response.output_item.done",
        [.init("output_index", 0), .init("item", item("completed", [Self.part(text)]))]
      ),
    ]
  }

  mutating func ending(_ answer: CollectedAnswer) -> [ServerEvent] {
    let name = answer.reason(0) == .length ? "response.incomplete" : "response.completed"
    return [event(name, [.init("response", whole(answer))])]
  }

  func failure(_ error: APIError) -> ServerEvent {
    ServerEvent(
      "error",
      [
        "type": "error", "code": JSON(error.code), "message": .string(error.message),
        "param": JSON(error.parameter), "sequence_number": .integer(sequence),
      ]
    )
  }

  func whole(_ answer: CollectedAnswer) -> JSON {
    response("completed", [item("completed", [Self.part(answer.pieces[0].text)])], answer)
  }
}
