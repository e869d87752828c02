// Anthropic's messages and OpenAI's responses: how their bodies become chats, and how answers are told in them.

import Gemma
import HTTPTypes
import Testing
import Wire

@testable import Server

@Suite struct `Other interfaces` {
  private func body(_ text: String) throws -> JSON { try JSON(parsing: Array(text.utf8)) }

  private let tool = #"{"type":"object","properties":{"x":{"type":"integer"}}}"#

  @Test func `Anthropic's blocks become messages, calls and results`() throws {
    let request = try MessagesRequest(
      body(
        #"""
        {"max_tokens":9,"system":[{"type":"text","text":"a"}],"messages":[
        {"role":"user","content":"b"},
        {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},
        {"type":"text","text":"c"},{"type":"tool_use","id":"1","name":"f","input":{"x":1}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"1",
        "content":[{"type":"text","text":"d"}]},{"type":"text","text":"e"}]}],
        "tools":[{"name":"f","description":"g","input_schema":\#(tool)}],
        "tool_choice":{"type":"any","disable_parallel_tool_use":true}}
        """#
      ),
      .json
    ).chat
    #expect(request.messages.map(\.role) == [.system, .user, .assistant, .tool, .user])
    #expect(request.messages.map(\.content) == ["a", "b", "c", "d", "e"])
    #expect(request.messages[2].reasoning == "t")
    #expect(request.messages[2].toolCalls.map(\.name) == ["f"])
    #expect(request.messages[3].toolCallID == "1")
    #expect(request.tools[0]["function"]?["description"] == "g")
    #expect(request.toolUse == .forced(["f"], .json) && request.options.maxTokens == 9)
    guard case .calls(let calls)? = request.options.grammar else {
      Issue.record("no rule for calls")
      return
    }
    #expect(calls.isRequired && !calls.isParallel && calls.tools[0].parameters == tool)
  }

  @Test func `items of a response become messages, calls and results`() throws {
    let request = try ResponsesRequest(
      body(
        #"""
        {"instructions":"a","input":[{"role":"user","content":[{"type":"input_text","text":"b"}]},
        {"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"t"}]},
        {"type":"function_call","call_id":"1","name":"f","arguments":"{\"x\":1}"},
        {"type":"function_call_output","call_id":"1","output":"c"}],
        "tools":[{"type":"function","name":"f","parameters":\#(tool),"strict":true}],
        "tool_choice":{"type":"function","name":"f"},"max_output_tokens":5,"temperature":0.5}
        """#
      ),
      .gemma4
    )
    #expect(request.chat.messages.map(\.role) == [.system, .user, .assistant, .tool])
    #expect(request.chat.messages.map(\.content) == ["a", "b", "", "c"])
    #expect(request.chat.messages[2].reasoning == "t")
    #expect(request.chat.toolUse == .forced(["f"], .gemma4) && request.chat.options.maxTokens == 5)
    guard case .calls(let calls)? = request.chat.options.grammar else {
      Issue.record("no rule for calls")
      return
    }
    #expect(calls.only == "f" && calls.tools[0].isStrict && calls.notation == .gemma4)
    let repeated = JSON.object(request.repeated)
    #expect(repeated["temperature"] == .number(0.5) && repeated["metadata"] == [:])
    #expect(repeated["tool_choice"]?["name"] == "f")
  }

  @Test(arguments: [
    (#"{"messages":[{"role":"user","content":"a"}]}"#, "max_tokens"),
    (
      #"{"max_tokens":1,"messages":[{"role":"user","content":[{"type":"image"}]}]}"#,
      "messages[0].content[0].type"
    ),
    (
      #"{"max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result"}]}]}"#,
      "messages[0].content[0].tool_use_id"
    ),
    (
      #"{"max_tokens":1,"system":"s","messages":[{"role":"user","content":"a"},{"role":"x","content":""}]}"#,
      "messages[1].role"
    ),
    (
      #"{"max_tokens":1,"stop_sequences":[""],"messages":[{"role":"user","content":"a"}]}"#,
      "stop_sequences"
    ),
    (
      #"{"max_tokens":1,"tools":[{"name":"f","input_schema":[]}],"messages":[{"role":"user","content":"a"}]}"#,
      "tools[0].input_schema"
    ),
    (
      #"{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tool_choice":5}"#, "tool_choice"
    ),
    (#"{"max_tokens":1,"messages":[]}"#, "messages"),
    (
      #"{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tools":[{"type":"bash_20250124","name":"b"}]}"#,
      "tools[0].type"
    ),
    (
      #"{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tools":[{"input_schema":{}}]}"#,
      "tools[0].name"
    ),
    (
      #"{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tools":[{"name":"b"}],"tool_choice":{"type":"x"}}"#,
      "tool_choice.type"
    ),
  ])
  func `a message that makes no sense is named by its place`(_ text: String, _ parameter: String) {
    let error = #expect(throws: APIError.self) { try MessagesRequest(body(text), .json) }
    #expect(error?.parameter == parameter && error?.message.hasPrefix(parameter) == true)
  }

  @Test(arguments: [
    (#"{}"#, "input"), (#"{"input":"a","previous_response_id":"r"}"#, "previous_response_id"),
    (#"{"input":[{"type":"item_reference","id":"x"}]}"#, "input[0].type"),
    (#"{"input":[{"type":"function_call","name":"f","arguments":"{}"}]}"#, "input[0].call_id"),
    (#"{"input":"a","tools":[{"type":"web_search"}]}"#, "tools[0].type"),
    (#"{"input":[]}"#, "input"), (#"{"input":"a","max_output_tokens":0}"#, "max_output_tokens"),
    (
      #"{"input":[{"type":"reasoning"},{"role":"user","content":"a"},{"role":"x","content":"b"}]}"#,
      "input[2].role"
    ),
    (
      #"{"input":[{"type":"function_call","call_id":"1","name":"f","arguments":"5"}]}"#,
      "input[0].arguments"
    ),
    (
      #"{"input":[{"type":"function_call_output","call_id":"1","output":[{"type":"text"}]}]}"#,
      "input[0].output[0].text"
    ),
    (#"{"input":"a","text":{"format":{"type":"xml"}}}"#, "text.format.type"),
    (#"{"input":"a","parallel_tool_calls":5}"#, "parallel_tool_calls"),
    (
      #"{"input":"a","tools":[{"type":"function","name":"f","parameters":5}]}"#,
      "tools[0].parameters"
    ),
    (
      #"{"input":"a","tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"mcp"}}"#,
      "tool_choice.type"
    ),
  ])
  func `a response that makes no sense is named by its place`(_ text: String, _ parameter: String) {
    let error = #expect(throws: APIError.self) { try ResponsesRequest(body(text), .json) }
    #expect(error?.parameter == parameter && error?.message.hasPrefix(parameter) == true)
  }

  // MARK: Answers

  /// An answer that thinks, and then calls two functions.
  private let text = #"[{"name":"f","parameters":{"x":1}},{"name":"g","parameters":{}}]"#

  private func finished() -> Finished {
    Finished(
      request: 1,
      reason: .stop,
      promptTokens: 3,
      generatedTokens: 7,
      timing: RequestTiming(
        firstTokenMicroseconds: 0,
        prefillMicroseconds: 0,
        decodeMicroseconds: 0,
        totalMicroseconds: 0
      ),
      placement: []
    )
  }

  /// Returns the events of a stream, and the whole answer.
  private func tell(_ dialect: some AnswerDialect, by count: Int) throws -> ([JSON], JSON) {
    var (stream, whole) = (dialect, dialect)
    var answer = CollectedAnswer(choiceCount: 1, tools: .forced(["f", "g"], .json))
    var events = stream.opening()
    events += stream.piece(0, answer.take(0, AnswerPiece(thought: "hm")))
    let characters = Array(text)
    for first in stride(from: 0, to: characters.count, by: count) {
      let piece = String(characters[first..<min(first + count, characters.count)])
      let told = answer.take(0, AnswerPiece(text: piece))
      if !told.isEmpty { events += stream.piece(0, told) }
    }
    #expect(answer.end(0, finished()).isEmpty)
    events += stream.closing(0, answer) + stream.ending(answer)
    return (try events.map { try JSON(parsing: Array($0.data.utf8)) }, whole.whole(answer))
  }

  private let head = AnswerHead(id: "resp_1", created: 0, model: "m", system: "s")

  @Test(arguments: [1, 7, 1000]) func `a response's stream ends with what its parts said`(
    _ count: Int
  ) throws {
    let (events, whole) = try tell(ResponsesDialect(head: head, repeated: []), by: count)
    #expect(events.last?["response"] == whole)
    #expect(events.last?["type"] == "response.completed")
    let numbers = events.map { $0["sequence_number"] }
    #expect(numbers == events.indices.map { .integer($0) })
    guard case .array(let output)? = whole["output"] else {
      Issue.record("no output")
      return
    }
    let kinds: [JSON] = ["reasoning", "function_call", "function_call"]
    #expect(output.map { $0["type"] } == kinds)
    for (index, item) in output.enumerated() {
      let own = events.filter { $0["output_index"] == .integer(index) }
      let ids = own.compactMap { $0["item_id"] ?? $0["item"]?["id"] }
      #expect(Set(ids) == [item["id"] ?? .null])
      #expect(own.last?["item"] == item)
      #expect(deltas(own) == (item["arguments"].flatMap(string) ?? "hm"))
    }
  }

  @Test(arguments: [1, 7, 1000]) func `a message's blocks open, fill and close one after another`(
    _ count: Int
  ) throws {
    let dialect = MessagesDialect(id: "msg_1", model: "m", promptTokens: 3)
    let (events, whole) = try tell(dialect, by: count)
    guard case .array(let blocks)? = whole["content"] else {
      Issue.record("no content")
      return
    }
    #expect(blocks.map { $0["type"] } == ["thinking", "tool_use", "tool_use"] as [JSON])
    #expect(blocks[1]["input"] == ["x": 1] && blocks[2]["input"] == [:])
    #expect(whole["stop_reason"] == "tool_use")
    let starts = events.filter { $0["type"] == "content_block_start" }
    #expect(starts.map { $0["index"] } == [0, 1, 2] as [JSON])
    #expect(starts.map { $0["content_block"]?["id"] } == blocks.map { $0["id"] })
    let input = events.filter { $0["index"] == 1 }.compactMap { $0["delta"]?["partial_json"] }
    #expect(input.compactMap(string).joined() == #"{"x":1}"#)
    #expect(events.filter { $0["type"] == "content_block_stop" }.count == 3)
    #expect(events.last?["type"] == "message_stop")
  }

  private func deltas(_ events: [JSON]) -> String {
    events.compactMap { $0["delta"].flatMap(string) }.joined()
  }

  private func string(_ value: JSON) -> String? {
    guard case .string(let text) = value else { return nil }
    return text
  }
}

@Suite struct `The description of the interface` {
  @Test func `it names the routes that are served, and no others`() throws {
    let document = try JSON(parsing: Page.description)
    guard case .object(let paths)? = document["paths"] else {
      Issue.record("no paths")
      return
    }
    let described = paths.flatMap { path -> [String] in
      guard case .object(let methods) = path.value else { return [] }
      return methods.filter { ["get", "post"].contains($0.name) }
        .map { "\($0.name.uppercased()) \(path.name)" }
    }
    let served = Route.all.map { "\($0.method.rawValue) \($0.path)" }
    #expect(Set(described) == Set(served + ["GET /v1/models/{model}"]))
    #expect(described.count == served.count + 1)
  }
}
