// From the messages of a chat to the tokens of a prompt. Templates are strict about whose turn it is, clients
// are not, so neighbours of one role become one message.

internal import Gemma
internal import ModelFiles
internal import Wire

extension TextModel {
  /// Returns the prompt of a chat.
  ///
  /// - Throws: `APIError` 400 in the template's words if it refuses the conversation.
  func prompt(of request: ChatRequest) throws(APIError) -> [Int32] {
    try checkThoughts(request)
    do throws(GemmaError) {
      return try tokenizer.encode(pieces(of: request))
    } catch {
      throw APIError.invalid(error.message, request.messagesField)
    }
  }

  /// Returns the prompt of a chat as its text.
  ///
  /// - Throws: `APIError` 400 in the template's words if it refuses the conversation.
  func promptText(of request: ChatRequest) throws(APIError) -> String {
    try checkThoughts(request)
    do throws(GemmaError) {
      return try pieces(of: request).map(\.text).joined()
    } catch {
      throw APIError.invalid(error.message, request.messagesField)
    }
  }

  /// - Throws: `APIError` 400 if the model is asked to think and cannot be.
  private func checkThoughts(_ request: ChatRequest) throws(APIError) {
    guard request.thinks, case .success(let template) = template,
      !template.asksForThoughts || !tokenizer.canThink
    else { return }
    throw APIError.invalid(
      "\(request.thoughtsField): \(name) has no way to think before it answers",
      request.thoughtsField
    )
  }

  private func pieces(of request: ChatRequest) throws(GemmaError) -> [PromptPiece] {
    let template = try usableTemplate()
    guard callNotation == .gemma4 else {
      return try template.pieces(
        Self.merged(Self.withoutTools(request.messages, tools: request.tools)),
        thinks: request.thinks
      )
    }
    return try template.pieces(
      Self.merged(Self.withAnsweredCalls(request.messages)),
      thinks: request.thinks,
      tools: request.tools.map { ToolDeclaration.declared($0) }
    )
  }

  private func usableTemplate() throws(GemmaError) -> ChatTemplate {
    do throws(GemmaError) {
      return try template.get()
    } catch {
      throw GemmaError(
        error.code,
        "\(error.message); /v1/completions needs none, and --chat-template names one"
      )
    }
  }

  /// Returns a conversation for a template that knows no tools: their results become what the user says, calls
  /// what the assistant has said, and an instruction tells which there are.
  static func withoutTools(_ messages: [ChatMessage], tools: [JSON]) -> [ChatMessage] {
    var plain = messages.map { plainMessage($0) }
    if !tools.isEmpty {
      let instruction = ChatMessage(role: .system, content: instruction(tools))
      plain.insert(instruction, at: plain.first?.role == .system ? 1 : 0)
    }
    return plain
  }

  /// Returns a conversation for a template that knows tools.
  ///
  /// Templates leave out results that follow no call, so these become what the user says.
  static func withAnsweredCalls(_ messages: [ChatMessage]) -> [ChatMessage] {
    var isBehindCall = false
    return messages.map { message in
      var message = message
      switch message.role {
      case .developer: message.role = .system
      case .tool: if !isBehindCall { message.role = .user }
      case .system, .user, .assistant: break
      }
      if message.role != .tool { isBehindCall = !message.toolCalls.isEmpty }
      return message
    }
  }

  /// Returns a conversation in which the roles take turns: system, then user and assistant.
  ///
  /// Results of tools stand for themselves.
  static func merged(_ messages: [ChatMessage]) -> [ChatMessage] {
    var merged: [ChatMessage] = []
    for (index, message) in messages.enumerated() {
      var message = message
      // Only what stands first is an instruction for the whole conversation.
      let isAmongFirst = merged.allSatisfy { $0.role == .system }
      if message.role == .system, index > 0, !isAmongFirst { message.role = .user }
      guard let last = merged.last, last.role == message.role, message.role != .tool else {
        merged.append(message)
        continue
      }
      merged[merged.count - 1].append(message)
    }
    return merged
  }

  private static func plainMessage(_ message: ChatMessage) -> ChatMessage {
    switch message.role {
    case .developer: return ChatMessage(role: .system, content: message.content)
    case .tool: return ChatMessage(role: .user, content: message.content)
    case .assistant where !message.toolCalls.isEmpty:
      let calls = message.toolCalls.map { call in
        let document: JSON = ["name": .string(call.name), "parameters": JSON(call.arguments)]
        return document.text
      }
      let parts = [message.content] + calls
      return ChatMessage(
        role: .assistant,
        content: parts.filter { !$0.isEmpty }.joined(separator: "\n")
      )
    default: return message
    }
  }

  /// What Google's guide to function calling with Gemma tells the model.
  private static func instruction(_ tools: [JSON]) -> String {
    let functions = tools.compactMap { $0["function"]?.text }
    return """
      You have access to functions. If you decide to invoke any of the functions, you MUST put it in \
      the format of {"name": function name, "parameters": dictionary of argument name and its value}
      You SHOULD NOT include any other text in the response if you call a function
      [\(functions.joined(separator: ",\n"))]
      """
  }
}

extension ChatMessage {
  /// Adds what the same role says next.
  fileprivate mutating func append(_ next: ChatMessage) {
    func joined(_ texts: [String]) -> String {
      texts.filter { !$0.isEmpty }.joined(separator: "\n\n")
    }
    content = joined([content, next.content])
    let thoughts = joined([reasoning ?? "", next.reasoning ?? ""])
    reasoning = thoughts.isEmpty ? nil : thoughts
    toolCalls += next.toolCalls
  }
}

extension PromptPiece {
  fileprivate var text: String {
    switch self {
    case .template(let text), .plain(let text): text
    }
  }
}

extension JSON {
  /// A value of a message, whose members have no order.
  init(_ value: JSONValue) {
    switch value {
    case .null: self = .null
    case .bool(let flag): self = .bool(flag)
    case .integer(let number): self = .integer(number)
    case .double(let number): self = .number(number)
    case .string(let text): self = .string(text)
    case .array(let values): self = .array(values.map { JSON($0) })
    case .object(let members):
      self = .object(members.sorted { $0.key < $1.key }.map { Member($0.key, JSON($0.value)) })
    }
  }
}
