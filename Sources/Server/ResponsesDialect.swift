// How OpenAI's interface of responses tells an answer: items, and a stream of numbered events that opens, fills
// and closes each.

internal import Wire

/// OpenAI's responses, without a memory of earlier ones.
struct ResponsesDialect: AnswerDialect {
  private let head: AnswerHead
  /// What the response repeats of its request.
  private let repeated: [JSON.Member]
  /// The items that have begun; the last of them is open in a stream.
  private var items: [Item] = []
  private var sequence = 0

  init(head: AnswerHead, repeated: [JSON.Member]) {
    self.head = head
    self.repeated = repeated
  }

  /// A part of the output.
  private struct Item {
    enum Kind: Hashable {
      case reasoning
      case message
      case call(id: String, name: String)
    }

    var kind: Kind
    var id: String
    var text = ""
    var status = "in_progress"

    var document: JSON {
      let place: [JSON.Member] = [.init("id", .string(id)), .init("status", .string(status))]
      switch kind {
      case .reasoning:
        let content: JSON = [["type": "reasoning_text", "text": .string(text)]]
        return .object(
          place + [.init("type", "reasoning"), .init("summary", []), .init("content", content)]
        )
      case .message:
        // It has no part before the event that adds one.
        let content: JSON = status == "in_progress" ? [] : [part]
        return .object(
          place + [
            .init("type", "message"), .init("role", "assistant"), .init("content", content),
          ]
        )
      case .call(let call, let name):
        return .object(
          place + [
            .init("type", "function_call"), .init("call_id", .string(call)),
            .init("name", .string(name)), .init("arguments", .string(text)),
          ]
        )
      }
    }

    /// The text of a message.
    var part: JSON {
      ["type": "output_text", "text": .string(text), "annotations": [], "logprobs": []]
    }
  }

  // MARK: The whole

  private func response(_ status: String, _ items: [Item], _ answer: CollectedAnswer?) -> JSON {
    let details: JSON = status == "incomplete" ? ["reason": "max_output_tokens"] : .null
    return .object(
      [
        .init("id", .string(head.id)), .init("object", "response"),
        .init("created_at", .integer(head.created)), .init("status", .string(status)),
        .init("model", .string(head.model)), .init("output", .array(items.map(\.document))),
        .init("error", .null), .init("incomplete_details", details),
      ] + repeated + [
        .init("store", false), .init("truncation", "disabled"),
        .init("usage", answer.map(Self.usage) ?? .null),
      ]
    )
  }

  private static func status(_ answer: CollectedAnswer) -> String {
    answer.end(of: 0) == .length ? "incomplete" : "completed"
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

  /// Tells the answer as a stream would, and keeps its items.
  mutating func whole(_ answer: CollectedAnswer) -> JSON {
    _ = piece(0, answer.pieces[0])
    _ = closing(0, answer)
    return response(Self.status(answer), items, answer)
  }

  // MARK: The stream

  private mutating func event(_ name: String, _ members: [JSON.Member]) -> ServerEvent {
    defer { sequence += 1 }
    let first: [JSON.Member] = [
      .init("type", .string(name)), .init("sequence_number", .integer(sequence)),
    ]
    return ServerEvent(name, .object(first + members))
  }

  /// Where the open item stands.
  private var place: [JSON.Member] {
    [
      .init("item_id", .string(items[items.count - 1].id)),
      .init("output_index", .integer(items.count - 1)),
    ]
  }

  /// Where its text stands.
  private var textPlace: [JSON.Member] { place + [.init("content_index", 0)] }

  private var openItem: [JSON.Member] {
    [
      .init("output_index", .integer(items.count - 1)),
      .init("item", items[items.count - 1].document),
    ]
  }

  mutating func opening() -> [ServerEvent] {
    let begun = response("in_progress", [], nil)
    return [
      event("response.created", [.init("response", begun)]),
      event("response.in_progress", [.init("response", begun)]),
    ]
  }

  mutating func piece(_ choice: Int, _ piece: AnswerPiece) -> [ServerEvent] {
    var events: [ServerEvent] = []
    if !piece.thought.isEmpty {
      events += begin(.reasoning)
      events += append(piece.thought, "response.reasoning_text.delta", textPlace)
    }
    if !piece.text.isEmpty {
      events += begin(.message)
      let place = textPlace + [.init("logprobs", [])]
      events += append(piece.text, "response.output_text.delta", place)
    }
    for call in piece.calls {
      if let name = call.name { events += begin(.call(id: call.id, name: name)) }
      guard !call.arguments.isEmpty else { continue }
      events += append(call.arguments, "response.function_call_arguments.delta", place)
    }
    return events
  }

  private mutating func append(
    _ text: String,
    _ name: String,
    _ place: [JSON.Member]
  ) -> [ServerEvent] {
    items[items.count - 1].text += text
    return [event(name, place + [.init("delta", .string(text))])]
  }

  /// Opens an item, unless it is open.
  private mutating func begin(_ kind: Item.Kind) -> [ServerEvent] {
    guard items.last?.kind != kind else { return [] }
    var events = end(isCut: false)
    let prefix =
      switch kind {
      case .reasoning: "rs_"
      case .message: "msg_"
      case .call: "fc_"
      }
    let id = head.id.replacing("resp_", with: prefix) + "_\(items.count)"
    items.append(Item(kind: kind, id: id))
    events.append(event("response.output_item.added", openItem))
    if kind == .message {
      let part = items[items.count - 1].part
      events.append(event("response.content_part.added", textPlace + [.init("part", part)]))
    }
    return events
  }

  /// Closes the open item.
  private mutating func end(isCut: Bool) -> [ServerEvent] {
    guard !items.isEmpty else { return [] }
    items[items.count - 1].status = isCut ? "incomplete" : "completed"
    let item = items[items.count - 1]
    let text = JSON.string(item.text)
    var events: [ServerEvent] = []
    switch item.kind {
    case .reasoning:
      events.append(event("response.reasoning_text.done", textPlace + [.init("text", text)]))
    case .message:
      let done = textPlace + [.init("text", text), .init("logprobs", [])]
      events.append(event("response.output_text.done", done))
      events.append(event("response.content_part.done", textPlace + [.init("part", item.part)]))
    case .call(_, let name):
      let done = place + [.init("name", .string(name)), .init("arguments", text)]
      events.append(event("response.function_call_arguments.done", done))
    }
    events.append(event("response.output_item.done", openItem))
    return events
  }

  mutating func closing(_ choice: Int, _ answer: CollectedAnswer) -> [ServerEvent] {
    let begun = items.isEmpty ? begin(.message) : []
    return begun + end(isCut: answer.end(of: 0) == .length)
  }

  mutating func ending(_ answer: CollectedAnswer) -> [ServerEvent] {
    let status = Self.status(answer)
    return [event("response.\(status)", [.init("response", response(status, items, answer))])]
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
}
