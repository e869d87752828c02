// Chats and completions in OpenAI's interface: chunks, of which each names the answer, and `[DONE]`.

/// OpenAI's chat completions and completions.
struct OpenAIDialect: AnswerDialect {
  var head: AnswerHead
  var form: any AnswerForm
  var choiceCount: Int
  /// How many choices share a prompt.
  var choicesOfPrompt: Int
  var includesUsage: Bool

  private func chunk(_ choices: [JSON], _ more: [JSON.Member] = []) -> ServerEvent {
    var document = head.document(form.objects.piece, choices: choices)
    if includesUsage, !more.contains(where: { $0.name == "usage" }) {
      document.append(.init("usage", .null))
    }
    return ServerEvent(nil, .object(document + more))
  }

  mutating func opening() -> [ServerEvent] {
    var events: [ServerEvent] = []
    for choice in 0..<choiceCount {
      if let opening = form.opening(choice) { events.append(chunk([opening])) }
    }
    return events
  }

  mutating func piece(_ choice: Int, _ piece: AnswerPiece) -> [ServerEvent] {
    form.piece(choice, piece).map { [chunk([$0])] } ?? []
  }

  mutating func closing(_ choice: Int, _ answer: CollectedAnswer) -> [ServerEvent] {
    let isLast = answer.usage.finished.count == choiceCount
    let end = form.closing(choice, answer.end(of: choice).name)
    return [chunk([end], isLast ? [.init("timings", answer.usage.timings)] : [])]
  }

  func ending(_ answer: CollectedAnswer) -> [ServerEvent] {
    let usage = JSON.Member("usage", answer.usage.document(choices: choicesOfPrompt))
    return (includesUsage ? [chunk([], [usage])] : []) + [ServerEvent(text: "[DONE]")]
  }

  func failure(_ error: APIError) -> ServerEvent { ServerEvent(nil, error.document) }

  mutating func whole(_ answer: CollectedAnswer) -> JSON {
    var choices: [JSON] = []
    for (index, piece) in answer.pieces.enumerated() {
      choices.append(form.whole(index, piece, answer.end(of: index).name))
    }
    var document = head.document(form.objects.whole, choices: choices)
    document.append(.init("usage", answer.usage.document(choices: choicesOfPrompt)))
    document.append(.init("timings", answer.usage.timings))
    return .object(document)
  }
}

extension AnswerEnd {
  /// As OpenAI's interface names it.
  fileprivate var name: String {
    switch self {
    case .turn, .stop: "stop"
    case .length: "length"
    case .calls: "tool_calls"
    }
  }
}
