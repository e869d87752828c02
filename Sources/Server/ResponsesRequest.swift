// The body of a request in OpenAI's interface of responses, told in the terms of a chat.

internal import Gemma
internal import Wire

/// The body of a request for a response.
struct ResponsesRequest {
  var chat: ChatRequest
  /// What the response repeats of its request.
  var repeated: [JSON.Member]

  init(_ body: JSON, _ notation: CallNotation) throws(APIError) {
    let fields = try Fields(body)
    for name in ["previous_response_id", "conversation"] where fields[name] != nil {
      throw fields.error(name, "is there, but this server keeps no responses; send the whole input")
    }
    if try fields.bool("background") == true {
      throw fields.error("background", "is true, but this server keeps no responses")
    }
    let (messages, places) = try Self.messages(fields)
    var members: [JSON.Member] = [.init("messages", .array(messages))]
    members += fields.members(Self.names)
    let tools = try Self.tools(fields)
    if !tools.isEmpty { members.append(.init("tools", .array(tools))) }
    if let choice = try Self.choice(fields) { members.append(.init("tool_choice", choice)) }
    if let format = try fields.object("text")?["format"] {
      members.append(.init("response_format", format))
    }
    let names = FieldNames(Self.names + Self.deepNames, messages: places)
    chat = try names.telling { () throws(APIError) in try ChatRequest(.object(members), notation) }
    chat.options.grammarField = names.theirs(chat.options.grammarField)
    chat.messagesField = "input"
    repeated = Self.repeated.map { name, usual in .init(name, fields[name] ?? usual) }
  }

  private static let names: Fields.Names = [
    ("model", "model"), ("max_output_tokens", "max_completion_tokens"),
    ("temperature", "temperature"), ("top_p", "top_p"), ("stream", "stream"), ("seed", "seed"),
    ("parallel_tool_calls", "parallel_tool_calls"),
  ]

  private static let deepNames: Fields.Names = [
    ("text.format", "response_format"), ("tool_choice.name", "tool_choice.function.name"),
    ("input", "messages"),
  ]

  /// What a response repeats, and what it says where the request is silent.
  private static let repeated: [(name: String, usual: JSON)] = [
    ("instructions", .null), ("max_output_tokens", .null), ("metadata", [:]),
    ("parallel_tool_calls", true), ("temperature", .null), ("text", ["format": ["type": "text"]]),
    ("tool_choice", "auto"), ("tools", []), ("top_p", .null),
  ]

  // MARK: Items

  /// Returns the messages of a chat, and the paths that they come from.
  private static func messages(
    _ fields: Fields
  ) throws(APIError) -> (messages: [JSON], places: [FieldNames.Place]) {
    var messages: [JSON] = []
    var places: [FieldNames.Place] = []
    if let instructions = try fields.string("instructions") {
      messages.append(["role": "system", "content": .string(instructions)])
      places.append(FieldNames.Place(path: "instructions", content: ""))
    }
    switch try fields.required("input") {
    case .string(let text):
      messages.append(["role": "user", "content": .string(text)])
      places.append(FieldNames.Place(path: "input", content: ""))
    case .array(let items):
      guard !items.isEmpty else { throw fields.error("input", "is empty") }
      var thought = ""
      for (index, item) in items.enumerated() {
        let item = try Fields(item, path: "input[\(index)]")
        guard var message = try message(item) else {
          thought = try self.thought(item)
          continue
        }
        if message["role"] == "assistant", case .object(let members) = message {
          message = .object(members + [.init("reasoning_content", .string(thought))])
        }
        thought = ""
        messages.append(message)
        let isResult = message["role"] == "tool"
        places.append(
          FieldNames.Place(path: "input[\(index)]", content: isResult ? ".output" : ".content")
        )
      }
    case let value: throw fields.error("input", "is \(value.kind), not a text or items")
    }
    return (messages, places)
  }

  /// What the model thought before the next item; empty if the item does not tell.
  private static func thought(_ item: Fields) throws(APIError) -> String {
    var texts: [String] = []
    for (index, part) in (try item.array("content") ?? []).enumerated() {
      let part = try Fields(part, path: "\(item.path("content"))[\(index)]")
      if let text = try part.string("text") { texts.append(text) }
    }
    return texts.joined(separator: "\n")
  }

  /// Returns nil for what the model thought, which belongs to the next item.
  private static func message(_ item: Fields) throws(APIError) -> JSON? {
    switch try item.string("type") ?? "message" {
    case "message":
      let role = JSON.string(try item.string("role") ?? "")
      return ["role": role, "content": try item.required("content")]
    case "function_call":
      let function: JSON = [
        "name": try item.required("name"), "arguments": try item.required("arguments"),
      ]
      let call: JSON = [
        "id": .string(try callID(item)), "type": "function", "function": function,
      ]
      return ["role": "assistant", "content": .null, "tool_calls": [call]]
    case "function_call_output":
      let id = JSON.string(try callID(item))
      return ["role": "tool", "tool_call_id": id, "content": try item.required("output")]
    case "reasoning": return nil
    case let type:
      throw item.error(
        "type",
        "is \"\(type.prefix(80))\", not one of message, function_call, function_call_output, reasoning"
      )
    }
  }

  private static func callID(_ item: Fields) throws(APIError) -> String {
    guard let id = try item.string("call_id") else { throw item.error("call_id", "is missing") }
    return id
  }

  // MARK: Tools

  private static func tools(_ fields: Fields) throws(APIError) -> [JSON] {
    var tools: [JSON] = []
    for (index, value) in (try fields.array("tools") ?? []).enumerated() {
      let tool = try Fields(value, path: "tools[\(index)]")
      let type = try tool.string("type") ?? "missing"
      guard type == "function" else {
        throw tool.error("type", "is \"\(type.prefix(80))\"; this server runs no tools of its own")
      }
      tools.append(
        try tool.function(["description", "parameters", "strict"].map { ($0, $0) })
      )
    }
    return tools
  }

  private static func choice(_ fields: Fields) throws(APIError) -> JSON? {
    guard case .object? = fields["tool_choice"], let choice = try fields.object("tool_choice")
    else { return fields["tool_choice"] }
    let type = try choice.string("type") ?? "missing"
    guard type == "function" else {
      throw choice.error("type", "is \"\(type.prefix(80))\", not function")
    }
    return ["type": "function", "function": ["name": try choice.required("name")]]
  }
}
