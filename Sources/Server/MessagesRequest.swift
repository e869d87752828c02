// The body of a request in Anthropic's interface, told in the terms of a chat.

internal import Gemma
internal import Wire

/// The body of a request for a message.
struct MessagesRequest {
  var chat: ChatRequest

  init(_ body: JSON, _ notation: CallNotation) throws(APIError) {
    let fields = try Fields(body)
    guard fields["max_tokens"] != nil else { throw fields.error("max_tokens", "is missing") }
    let (messages, places) = try Self.messages(fields)
    var members: [JSON.Member] = [.init("messages", .array(messages))]
    members += fields.members(Self.names)
    members += try Self.tools(fields)
    let former = try fields.object("output_format")
    if let format = try fields.object("output_config")?.object("format") ?? former {
      // Anthropic's own schemas are strict: all properties are declared.
      let schema: JSON = ["schema": try format.required("schema"), "strict": true]
      members.append(
        .init("response_format", ["type": try format.required("type"), "json_schema": schema])
      )
    }
    if try fields.object("thinking")?.string("type") == "enabled" {
      members.append(.init("chat_template_kwargs", ["enable_thinking": true]))
    }
    let names = FieldNames(Self.names + Self.deepNames, messages: places)
    chat = try names.telling { () throws(APIError) in try ChatRequest(.object(members), notation) }
    chat.thoughtsField = "thinking"
    chat.options.grammarField = names.theirs(chat.options.grammarField)
  }

  private static let names: Fields.Names = [
    ("model", "model"), ("max_tokens", "max_tokens"), ("temperature", "temperature"),
    ("top_p", "top_p"), ("top_k", "top_k"), ("stop_sequences", "stop"), ("stream", "stream"),
  ]

  private static let deepNames: Fields.Names = [
    ("description", "description"), ("input_schema", "parameters"),
    ("tool_choice.name", "tool_choice.function.name"), ("thinking", "chat_template_kwargs"),
    ("output_config.format.schema", "response_format.json_schema.schema"),
    ("output_config.format", "response_format"),
  ]

  // MARK: Messages

  /// Returns the messages of a chat, and the paths that they come from.
  private static func messages(
    _ fields: Fields
  ) throws(APIError) -> (messages: [JSON], places: [FieldNames.Place]) {
    var messages: [JSON] = []
    var places: [FieldNames.Place] = []
    if let system = fields["system"] {
      messages.append(["role": "system", "content": try text(system, fields, "system")])
      places.append(FieldNames.Place(path: "system", content: ""))
    }
    guard let values = try fields.array("messages") else {
      throw fields.error("messages", "is missing")
    }
    guard !values.isEmpty else { throw fields.error("messages", "is empty") }
    for (index, value) in values.enumerated() {
      let place = "messages[\(index)]"
      let several = try self.messages(of: Fields(value, path: place))
      messages += several
      places += several.map { _ in FieldNames.Place(path: place) }
    }
    return (messages, places)
  }

  /// The messages of one: results of tools are messages of their own.
  private static func messages(of message: Fields) throws(APIError) -> [JSON] {
    let role = JSON.string(try message.string("role") ?? "")
    guard case .array(let values) = try message.required("content") else {
      return [["role": role, "content": try message.required("content")]]
    }
    var results: [JSON] = []
    var texts: [String] = []
    var thoughts: [String] = []
    var calls: [JSON] = []
    for (index, value) in values.enumerated() {
      let block = try Fields(value, path: "\(message.path("content"))[\(index)]")
      switch try block.string("type") {
      case "text": texts.append(try block.string("text") ?? "")
      case "thinking": thoughts.append(try block.string("thinking") ?? "")
      case "redacted_thinking": break
      case "tool_use": calls.append(try call(block))
      case "tool_result": results.append(try result(block))
      case let type: throw unreadable(block, type)
      }
    }
    guard !texts.isEmpty || !thoughts.isEmpty || !calls.isEmpty || results.isEmpty else {
      return results
    }
    let said: JSON = [
      "role": role, "content": .string(texts.joined(separator: "\n")),
      "reasoning_content": thoughts.isEmpty ? .null : .string(thoughts.joined(separator: "\n")),
      "tool_calls": calls.isEmpty ? .null : .array(calls),
    ]
    return results + [said]
  }

  private static func unreadable(_ block: Fields, _ type: String?) -> APIError {
    block.error("type", "is \"\(type?.prefix(80) ?? "missing")\"; this model reads text alone")
  }

  private static func call(_ block: Fields) throws(APIError) -> JSON {
    guard let name = try block.string("name") else { throw block.error("name", "is missing") }
    _ = try block.object("input")
    let arguments = JSON.string((block["input"] ?? [:]).text)
    return [
      "id": JSON(try block.string("id")), "type": "function",
      "function": ["name": .string(name), "arguments": arguments],
    ]
  }

  private static func result(_ block: Fields) throws(APIError) -> JSON {
    guard let id = try block.string("tool_use_id") else {
      throw block.error("tool_use_id", "is missing")
    }
    let content = try block["content"].map { value throws(APIError) in
      try text(value, block, "content")
    }
    return ["role": "tool", "tool_call_id": .string(id), "content": content ?? ""]
  }

  /// A text, or blocks that are texts.
  private static func text(
    _ value: JSON,
    _ fields: Fields,
    _ name: String
  ) throws(APIError) -> JSON {
    guard case .array(let blocks) = value else { return value }
    var texts: [String] = []
    for (index, block) in blocks.enumerated() {
      let block = try Fields(block, path: "\(fields.path(name))[\(index)]")
      let type = try block.string("type")
      guard type == "text" else { throw unreadable(block, type) }
      texts.append(try block.string("text") ?? "")
    }
    return .string(texts.joined(separator: "\n"))
  }

  // MARK: Tools

  private static func tools(_ fields: Fields) throws(APIError) -> [JSON.Member] {
    let choice = try choice(fields)
    guard let values = try fields.array("tools"), !values.isEmpty else { return choice }
    var tools: [JSON] = []
    for (index, value) in values.enumerated() {
      let tool = try Fields(value, path: "tools[\(index)]")
      let type = try tool.string("type") ?? "custom"
      guard type == "custom" else {
        throw tool.error("type", "is \"\(type.prefix(80))\"; this server runs no tools of its own")
      }
      tools.append(
        try tool.function([("description", "description"), ("input_schema", "parameters")])
      )
    }
    return [.init("tools", .array(tools))] + choice
  }

  private static func choice(_ fields: Fields) throws(APIError) -> [JSON.Member] {
    guard let choice = try fields.object("tool_choice") else { return [] }
    let isSingle = try choice.bool("disable_parallel_tool_use") ?? false
    let wanted: JSON
    switch try choice.string("type") {
    case "auto": wanted = "auto"
    case "any": wanted = "required"
    case "none": wanted = "none"
    case "tool": wanted = ["type": "function", "function": ["name": try choice.required("name")]]
    case let type:
      throw choice.error(
        "type",
        "is \"\(type?.prefix(80) ?? "missing")\", not one of auto, any, tool, none"
      )
    }
    return [.init("tool_choice", wanted), .init("parallel_tool_calls", .bool(!isSingle))]
  }
}
