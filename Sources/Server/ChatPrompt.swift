// From the messages of a chat to the tokens of a prompt. Templates are strict about whose turn it is, clients
// are not, so neighbours of one role become one message.

internal import Gemma
internal import ModelFiles

extension TextModel {
  /// Returns the prompt of a chat.
  ///
  /// - Throws: `APIError` 400 in the template's words if it refuses the conversation.
  func prompt(of request: ChatRequest) throws(APIError) -> [Int32] {
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
    do throws(GemmaError) {
      return try pieces(of: request).map(\.text).joined()
    } catch {
      throw APIError.invalid(error.message, request.messagesField)
    }
  }

  private func pieces(of request: ChatRequest) throws(GemmaError) -> [PromptPiece] {
    try template.get().pieces(
      Self.merged(request.messages, tools: request.tools),
      thinks: request.thinks
    )
  }

  /// Returns a conversation in which the roles take turns: system, then user and assistant.
  ///
  /// Results of tools become what the user says, and calls what the assistant has said, since Gemma's
  /// templates know neither.
  static func merged(_ messages: [ChatMessage], tools: [JSON]) -> [ChatMessage] {
    var plain = messages.map { plainMessage($0) }
    if !tools.isEmpty {
      let instruction = ChatMessage(role: .system, content: instruction(tools))
      plain.insert(instruction, at: plain.first?.role == .system ? 1 : 0)
    }
    var merged: [ChatMessage] = []
    for (index, message) in plain.enumerated() {
      var message = message
      // Only what stands first is an instruction for the whole conversation.
      let isAmongFirst = merged.allSatisfy { $0.role == .system }
      if message.role == .system, index > 0, !isAmongFirst { message.role = .user }
      guard let last = merged.last, last.role == message.role else {
        merged.append(message)
        continue
      }
      merged[merged.count - 1].content = [last.content, message.content]
        .filter { !$0.isEmpty }.joined(separator: "\n\n")
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
