// The body of a request for a chat, read and checked.

internal import Gemma
internal import ModelFiles
internal import Wire

/// Whether an answer may call tools.
enum ToolUse: Sendable, Hashable {
  case none
  /// It may call these.
  case offered(Set<String>, CallNotation)
  /// It must call some of these.
  case forced(Set<String>, CallNotation)

  /// What tells calls from words; nil if all are words.
  var reader: (any ToolCallReader)? {
    switch self {
    case .none: nil
    case .offered(let names, .json): JSONCallReader(names: names, isForced: false)
    case .forced(let names, .json): JSONCallReader(names: names, isForced: true)
    case .offered(_, .gemma4), .forced(_, .gemma4): Gemma4CallReader()
    }
  }
}

/// A request for the next message of a chat.
struct ChatRequest {
  var model: String?
  var options: GenerationOptions
  var messages: [ChatMessage]
  /// What the model may call, in OpenAI's form.
  var tools: [JSON]
  var toolUse = ToolUse.none
  var thinks: Bool
  /// What the interface calls the conversation.
  var messagesField = "messages"
  /// What it calls the wish for thoughts.
  var thoughtsField = "chat_template_kwargs.enable_thinking"

  /// - Parameters:
  ///   - body: The body of a request.
  ///   - notation: How the model writes calls.
  /// - Throws: `APIError` 400 for what cannot be obeyed.
  init(_ body: JSON, _ notation: CallNotation) throws(APIError) {
    let fields = try Fields(body)
    model = try fields.string("model")
    options = try GenerationOptions(fields)
    messages = try Self.messages(fields)
    tools = try Self.tools(fields)
    thinks = try fields.object("chat_template_kwargs")?.bool("enable_thinking") ?? false
    try readLogProbabilities(fields)
    try readToolChoice(fields, notation)
  }

  private mutating func readLogProbabilities(_ fields: Fields) throws(APIError) {
    let top = try fields.integer("top_logprobs", 0...20)
    guard try fields.bool("logprobs") ?? false else {
      guard (top ?? 0) == 0 else {
        throw fields.error("top_logprobs", "is there, but logprobs is not true")
      }
      return
    }
    options.sampling.returnsLogProbabilities = true
    options.sampling.likeliest = top ?? 0
  }

  /// Decides whether tools are called, by the grammar of the answer.
  ///
  /// A form of the answer is one of its words, where no tool is called.
  private mutating func readToolChoice(
    _ fields: Fields,
    _ notation: CallNotation
  ) throws(APIError) {
    let choice = fields["tool_choice"]
    let isParallel = try fields.bool("parallel_tool_calls") ?? true
    if tools.isEmpty {
      switch choice {
      case nil, .string("none")?, .string("auto")?: return
      default: throw fields.error("tool_choice", "forces a call, but there are no tools")
      }
    }
    var calls = ToolCalls(
      tools: try definitions(),
      isRequired: false,
      only: "",
      isParallel: isParallel,
      notation: notation
    )
    let names = Set(calls.tools.map(\.name))
    switch choice {
    case .string("none")?:
      tools = []
      return
    case nil, .string("auto")?: toolUse = .offered(names, notation)
    case .string("required")?: (toolUse, calls.isRequired) = (.forced(names, notation), true)
    case .object?:
      guard let function = try fields.object("tool_choice")?.object("function"),
        let name = try function.string("name")
      else { throw fields.error("tool_choice", "names no function") }
      guard names.contains(name) else {
        throw fields.error(
          "tool_choice",
          "names \"\(name.prefix(80))\", which is not among the tools"
        )
      }
      (toolUse, calls.only, calls.isParallel) = (.forced([name], notation), name, false)
    case let value?:
      throw fields.error("tool_choice", "is \(value.kind), not none, auto, required or a function")
    }
    options.grammarField = "tools"
    switch options.grammar {
    case nil: break
    case .schema(let text)?: calls.words = text
    case .strictSchema(let text)?: (calls.words, calls.wordsAreStrict) = (text, true)
    case .object?: calls.words = #"{"type":"object"}"#
    case .gbnf?, .calls?:
      throw fields.error("grammar", "and tools are both there; leave out either")
    }
    options.grammar = .calls(calls)
    // All that comes is the call, whose form is given.
    if case .forced = toolUse { options.stops = [] }
    try options.checkEnd(fields)
  }

  private func definitions() throws(APIError) -> [ToolDefinition] {
    guard tools.count <= Limits.tools else {
      throw APIError.invalid(
        "tools has \(tools.count); at most \(Limits.tools) are allowed",
        "tools"
      )
    }
    var definitions: [ToolDefinition] = []
    for (index, tool) in tools.enumerated() {
      let function = try Fields(tool["function"] ?? .null, path: "tools[\(index)].function")
      definitions.append(
        ToolDefinition(
          name: try function.string("name") ?? "",
          parameters: function["parameters"]?.text ?? "",
          isStrict: try function.bool("strict") ?? false
        )
      )
    }
    return definitions
  }

  // MARK: Messages

  private static func messages(_ fields: Fields) throws(APIError) -> [ChatMessage] {
    guard let values = try fields.array("messages") else {
      throw fields.error("messages", "is missing")
    }
    guard !values.isEmpty else { throw fields.error("messages", "is empty") }
    var messages: [ChatMessage] = []
    for (index, value) in values.enumerated() {
      messages.append(try message(Fields(value, path: "messages[\(index)]")))
    }
    return messages
  }

  private static func message(_ fields: Fields) throws(APIError) -> ChatMessage {
    let name = try fields.string("role") ?? ""
    // `function` is the former name of `tool`.
    guard let role = ChatMessage.Role(rawValue: name == "function" ? "tool" : name) else {
      throw fields.error(
        "role",
        "is \"\(name.prefix(80))\", not one of system, developer, user, assistant, tool"
      )
    }
    let calls = try toolCalls(fields)
    let reasoning = try fields.string("reasoning")
    let content = try content(fields)
    guard content != nil || !calls.isEmpty else { throw fields.error("content", "is missing") }
    return ChatMessage(
      role: role,
      content: content ?? "",
      reasoning: try fields.string("reasoning_content") ?? reasoning,
      toolCalls: calls,
      toolCallID: try fields.string("tool_call_id")
    )
  }

  /// A text, or parts that are texts.
  private static func content(_ fields: Fields) throws(APIError) -> String? {
    guard case .array(let parts)? = fields["content"] else { return try fields.string("content") }
    var texts: [String] = []
    for (index, value) in parts.enumerated() {
      let part = try Fields(value, path: "\(fields.path("content"))[\(index)]")
      let type = try part.string("type") ?? ""
      guard ["text", "input_text", "output_text"].contains(type) else {
        throw part.error("type", "is \"\(type.prefix(80))\"; this model reads text alone")
      }
      guard let text = try part.string("text") else { throw part.error("text", "is missing") }
      texts.append(text)
    }
    return texts.joined(separator: "\n")
  }

  private static func toolCalls(_ fields: Fields) throws(APIError) -> [ChatMessage.ToolCall] {
    var calls: [ChatMessage.ToolCall] = []
    for (index, value) in (try fields.array("tool_calls") ?? []).enumerated() {
      let call = try Fields(value, path: "\(fields.path("tool_calls"))[\(index)]")
      guard let function = try call.object("function") else {
        throw call.error("function", "is missing")
      }
      guard let name = try function.string("name") else {
        throw function.error("name", "is missing")
      }
      let text = try function.string("arguments") ?? "{}"
      let arguments: JSON
      do throws(APIError) {
        arguments = try JSON(
          parsing: Array((text.isEmpty ? "{}" : text).utf8),
          as: "the text",
          // Names that no schema declares can come twice in what a model writes.
          allowsRepeats: true
        )
      } catch {
        throw function.error("arguments", "is no JSON object: \(error.message)")
      }
      guard case .object = arguments else {
        throw function.error("arguments", "is \(arguments.kind), not a JSON object")
      }
      calls.append(
        ChatMessage.ToolCall(
          id: try call.string("id"),
          name: name,
          arguments: JSONValue(arguments)
        )
      )
    }
    return calls
  }

  private static func tools(_ fields: Fields) throws(APIError) -> [JSON] {
    let tools = try fields.array("tools") ?? []
    var names: Set<String> = []
    for (index, value) in tools.enumerated() {
      let tool = try Fields(value, path: "tools[\(index)]")
      guard let function = try tool.object("function") else {
        throw tool.error("function", "is missing")
      }
      guard let name = try function.string("name") else {
        throw function.error("name", "is missing")
      }
      guard (1...Limits.nameBytes).contains(name.utf8.count) else {
        throw function.error(
          "name",
          "has \(name.utf8.count) bytes, outside 1 to \(Limits.nameBytes)"
        )
      }
      guard names.insert(name).inserted else {
        throw function.error("name", "is \"\(name.prefix(80))\", as that of a tool before it")
      }
      _ = try function.object("parameters")
    }
    return tools
  }
}

extension JSONValue {
  /// The value for a chat template, which does not look at the order of members.
  init(_ value: JSON) {
    switch value {
    case .null: self = .null
    case .bool(let flag): self = .bool(flag)
    case .integer(let number): self = .integer(number)
    case .number(let number): self = .double(number)
    case .string(let text): self = .string(text)
    case .array(let values): self = .array(values.map(JSONValue.init))
    case .object(let members):
      self = .object(
        Dictionary(members.map { ($0.name, JSONValue($0.value)) }, uniquingKeysWith: { $1 })
      )
    }
  }
}
