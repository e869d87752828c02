// Calls of tools in what a model has written, whole and in pieces.

import Gemma
import ModelFiles
import Testing
import Wire

@testable import Server

@Suite struct `Calls in an answer` {
  private func read(
    _ text: String,
    isForced: Bool = false,
    pieces count: Int = 1
  ) -> Server.AnswerPiece {
    JSONCallReader(names: ["f", "g"], isForced: isForced).reading(text, pieces: count)
  }

  @Test(arguments: [
    #"{"name":"f","parameters":{"x":"```"}}"#, #" [{"name":"f","parameters":{"x":"```"}}]"#,
    #"{ "other": {"name": "g"}, "name" : "f" , "parameters": {"x":"```"} }"#,
    "```json\n{\"name\": \"f\", \"parameters\": {\"x\":\"```\"}}\n```",
  ])
  func `an answer that begins like a call is one, in whatever pieces`(_ text: String) {
    for count in [1, 2, 5, 1000] {
      let answer = read(text, pieces: count)
      #expect(answer.text.isEmpty && answer.calls.count == 1, "\(count): \(answer.text)")
      #expect(answer.calls.first?.name == "f")
      #expect(answer.calls.first?.arguments == "{\"x\":\"```\"}")
    }
  }

  @Test func `arguments are told as they are made`() {
    var reader = JSONCallReader(names: ["f"], isForced: false)
    #expect(reader.append(#" {"name": "f", "para"#).calls.map(\.name) == ["f"])
    #expect(reader.append(#"meters": "#).calls.isEmpty)
    let first = reader.append(#"{"a": "\"}"#).calls
    #expect(first.map(\.arguments) == [#"{"a": "\"}"#] && first[0].name == nil)
    #expect(reader.append(#", \\", "b": [1, {"c": "é"}]"#).calls.count == 1)
    #expect(reader.append("}").calls.map(\.arguments) == ["}"])
    #expect(reader.append("}").calls.isEmpty && reader.finish().isEmpty)
  }

  @Test(arguments: [
    #"{"name":"I","x":{"name":"f"}}"#, #" {"age":7,"x":{"name":"f"}}"#, #"[{"name":"Rome"}]"#,
  ])
  func `an object that names no tool is words`(_ text: String) {
    for count in [1, 3, 1000] {
      let answer = read(text, pieces: count)
      #expect(answer.text == text && answer.calls.isEmpty)
    }
  }

  @Test(arguments: ["Hello {\"name\"", "", "[1] is a note", "``` code", "  To be"])
  func `words are told as they come, and nothing is lost`(_ text: String) {
    for count in [1, 3, 1000] {
      let answer = read(text, pieces: count)
      #expect(answer.text == text && answer.calls.isEmpty)
    }
    var reader = JSONCallReader(names: ["f"], isForced: false)
    #expect(reader.append("To").words == "To" && reader.append(" be").words == " be")
  }

  @Test func `a call that was cut short is told as far as it came`() {
    for isForced in [true, false] {
      let answer = read(#"{"name":"f","parameters":{"x":1"#, isForced: isForced)
      #expect(answer.text.isEmpty)
      #expect(answer.calls.map(\.name) == ["f"] && answer.calls.map(\.arguments) == [#"{"x":1"#])
      let nameless = read(#"{"name":"f"#, isForced: isForced)
      #expect(nameless.text == (isForced ? "" : #"{"name":"f"#) && nameless.calls.isEmpty)
    }
  }

  @Test func `several calls have an identity each`() {
    let text = #"[{"name":"f","parameters":{}}, {"name":"g","parameters":{"y":[1,2]}}]"#
    for count in [1, 4, 1000] {
      let calls = read(text, isForced: true, pieces: count).calls
      #expect(
        calls.map(\.name) == ["f", "g"] && calls.map(\.arguments) == ["{}", #"{"y":[1,2]}"#]
      )
      #expect(calls.map(\.index) == [0, 1] && Set(calls.map(\.id)).count == 2)
    }
  }

  @Test(arguments: [CallNotation.json, .gemma4])
  func `an answer that ends within a call has not called`(_ notation: CallNotation) {
    func end(_ text: String, stop: String = "") -> AnswerEnd {
      var answer = CollectedAnswer(choiceCount: 1, tools: .offered(["f"], notation))
      _ = answer.take(0, Server.AnswerPiece(text: text))
      var finished = Finished(
        request: 1,
        reason: .stop,
        promptTokens: 1,
        generatedTokens: 1,
        timing: RequestTiming(
          firstTokenMicroseconds: 0,
          prefillMicroseconds: 0,
          decodeMicroseconds: 0,
          totalMicroseconds: 0
        ),
        placement: []
      )
      finished.stop = stop
      _ = answer.end(0, finished)
      return answer.end(of: 0)
    }
    let isJSON = notation == .json
    let call =
      isJSON ? #"{"name":"f","parameters":{"x":1}}"# : "<|tool_call>call:f{x:1}<tool_call|>"
    let part = isJSON ? #"{"name":"f","parameters":{"x":"# : "<|tool_call>call:f{x:"
    #expect(end(call) == .calls && end(part, stop: "1") == .stop("1"))
    #expect(end("Well") == .turn)
  }

  @Test func `what comes of a call at once is one piece`() {
    var reader = Gemma4CallReader()
    let calls = reader.append("<|tool_call>call:f{x:1}<tool_call|><|tool_call>call:g{}").calls
      .joined
    #expect(calls.map(\.index) == [0, 1] && calls.map(\.name) == ["f", "g"])
    #expect(calls.map(\.arguments) == [#"{"x":1}"#, "{}"])
    #expect(Set(calls.map(\.id)).count == 2)
  }

  private func chat(_ rest: String) throws -> ChatRequest {
    let tool = #"{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}"#
    let text = #"{"messages":[{"role":"user","content":"hi"}],"tools":[\#(tool)]\#(rest)}"#
    return try ChatRequest(JSON(parsing: Array(text.utf8)), .json)
  }

  @Test func `a choice of tools becomes the rule of the answer`() throws {
    for (rest, use, isRequired, only) in [
      ("", ToolUse.offered(["f"], .json), false, ""),
      (#","tool_choice":"auto""#, .offered(["f"], .json), false, ""),
      (#","tool_choice":"required""#, .forced(["f"], .json), true, ""),
      (
        #","tool_choice":{"type":"function","function":{"name":"f"}}"#, .forced(["f"], .json),
        false, "f"
      ),
    ] {
      let request = try chat(rest)
      #expect(request.toolUse == use)
      guard case .calls(let calls)? = request.options.grammar else {
        Issue.record("no calls for \(rest)")
        continue
      }
      #expect(calls.isRequired == isRequired && calls.only == only)
      #expect(calls.tools.map(\.parameters) == [#"{"type":"object"}"#])
    }
    let none = try chat(#","tool_choice":"none""#)
    #expect(none.tools.isEmpty && none.options.grammar == nil)
  }

  @Test func `a form of the answer is one of its words`() throws {
    let form =
      #","response_format":{"type":"json_schema","json_schema":{"schema":{"a":1},"strict":true}}"#
    for (choice, use) in [
      ("", ToolUse.offered(["f"], .json)), (#","tool_choice":"required""#, .forced(["f"], .json)),
    ] {
      let request = try chat(form + choice)
      guard case .calls(let calls)? = request.options.grammar else {
        Issue.record("no calls for \(choice)")
        continue
      }
      #expect(request.toolUse == use)
      #expect(calls.words == #"{"a":1}"# && calls.wordsAreStrict)
    }
    #expect(
      try chat(form + #","tool_choice":"none""#).options.grammar == .strictSchema(#"{"a":1}"#)
    )
    let error = #expect(throws: APIError.self) { try chat(#","grammar":"root ::= \"a\"""#) }
    #expect(error?.parameter == "grammar")
  }

  @Test(arguments: [
    #","tool_choice":{"type":"function","function":{"name":"g"}}"#, #","tool_choice":"maybe""#,
    #","tool_choice":5"#, #","tool_choice":{}"#,
  ])
  func `a choice that makes no sense is refused`(_ rest: String) {
    let error = #expect(throws: APIError.self) { try chat(rest) }
    #expect(error?.status == 400 && error?.parameter == "tool_choice")
  }

  @Test func `an answer that must end is not told to go on for ever`() throws {
    let forced = #","ignore_eos":true,"tool_choice":"required""#
    let error = #expect(throws: APIError.self) { try chat(forced) }
    #expect(error?.parameter == "ignore_eos")
    _ = try chat(#","ignore_eos":true"#)
    let stops = try chat(#","stop":["x"],"tool_choice":"required""#).options.stops
    #expect(stops.isEmpty)
    #expect(try chat(#","stop":["x"]"#).options.stops == ["x"])
  }

  @Test func `a name that comes twice in arguments counts once`() throws {
    let call = #"{"type":"function","function":{"name":"f","arguments":"{\"a\":1,\"a\":2}"}}"#
    let body =
      #"{"messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[\#(call)]}]}"#
    let request = try ChatRequest(JSON(parsing: Array(body.utf8)), .json)
    #expect(request.messages[1].toolCalls[0].arguments == .object(["a": .integer(2)]))
    #expect(throws: APIError.self) { try JSON(parsing: Array(#"{"a":1,"a":2}"#.utf8)) }
    #expect(throws: APIError.self) { try JSON(parsing: Array("1e400".utf8)) }
  }
}
