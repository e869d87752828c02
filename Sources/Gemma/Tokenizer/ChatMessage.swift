// What a conversation consists of: messages, calls of tools in them, and what is wanted of the reply.

package import ModelFiles

/// A message of a conversation.
package struct ChatMessage: Sendable, Hashable {
  package enum Role: String, Sendable, Hashable, CaseIterable {
    /// Instructions for the whole conversation; only as the first message.
    case system
    case user
    case assistant
    /// What a tool has returned.
    case tool
    /// Instructions, in templates that tell them from the system's.
    case developer
  }

  /// A call of a tool by the assistant.
  package struct ToolCall: Sendable, Hashable {
    /// The name by which the tool's answer refers to the call.
    package var id: String?
    package var name: String
    /// The arguments by name, an object.
    package var arguments: JSONValue

    package init(id: String? = nil, name: String, arguments: JSONValue) {
      self.id = id
      self.name = name
      self.arguments = arguments
    }
  }

  package var role: Role
  package var content: String
  /// What the assistant thought before; nil if that is not known or does not matter any more.
  package var reasoning: String?
  /// The tools that the assistant has called.
  package var toolCalls: [ToolCall]
  /// The call that a tool answers.
  package var toolCallID: String?

  package init(
    role: Role,
    content: String,
    reasoning: String? = nil,
    toolCalls: [ToolCall] = [],
    toolCallID: String? = nil
  ) {
    self.role = role
    self.content = content
    self.reasoning = reasoning
    self.toolCalls = toolCalls
    self.toolCallID = toolCallID
  }

  /// The bytes of all its texts.
  var byteCount: Int {
    content.utf8.count + (reasoning?.utf8.count ?? 0)
      + toolCalls.reduce(0) { $0 + $1.name.utf8.count + $1.arguments.byteCount }
  }

  /// The message as a template sees it: in the form of OpenAI's interface, all its texts plain.
  var value: TemplateValue {
    var members: [String: TemplateValue] = [
      "role": .literal(role.rawValue), "content": .plain(content),
    ]
    if let reasoning { members["reasoning"] = .plain(reasoning) }
    if let toolCallID { members["tool_call_id"] = .plain(toolCallID) }
    if !toolCalls.isEmpty { members["tool_calls"] = .list(toolCalls.map(\.value)) }
    return .map(members)
  }
}

extension ChatMessage.ToolCall {
  fileprivate var value: TemplateValue {
    var members: [String: TemplateValue] = [
      "type": .literal("function"),
      "function": .map(["name": .plain(name), "arguments": TemplateValue(arguments)]),
    ]
    if let id { members["id"] = .plain(id) }
    return .map(members)
  }
}

extension JSONValue {
  /// About as many bytes as its texts have.
  var byteCount: Int {
    switch self {
    case .null, .bool, .integer, .double: 8
    case .string(let text): text.utf8.count
    case .array(let values): values.reduce(0) { $0 + $1.byteCount }
    case .object(let members):
      members.reduce(0) { $0 + $1.key.utf8.count + $1.value.byteCount }
    }
  }
}

extension TemplateValue {
  /// Text that is tokenized as plain text, whatever it looks like.
  fileprivate static func plain(_ text: String) -> TemplateValue {
    .text(TemplateText(text, isPlain: true))
  }

  /// A value of a client's; all its texts are plain.
  init(_ value: JSONValue) {
    switch value {
    case .null: self = .nothing
    case .bool(let value): self = .bool(value)
    case .integer(let value): self = .integer(value)
    case .double(let value): self = .real(value)
    case .string(let text): self = .plain(text)
    case .array(let values): self = .list(values.map { TemplateValue($0) })
    case .object(let members): self = .map(members.mapValues { TemplateValue($0) })
    }
  }
}
