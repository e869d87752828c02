// Calls of tools in what a model has written, whole and in pieces.

import Testing
import Wire

@testable import Server

@Suite struct `Calls in an answer` {
  private func read(
    _ text: String,
    isForced: Bool = false,
    pieces count: Int = 1
  ) -> (words: String, calls: [ToolCallReader.Call]) {
    var reader = ToolCallReader(isForced: isForced)
    var words = ""
    let characters = Array(text)
    for first in stride(from: 0, to: characters.count, by: count) {
      words += reader.append(String(characters[first..<min(first + count, characters.count)]))
    }
    let end = reader.finish()
    return (words + end.words, end.calls)
  }

  @Test(arguments: [
    #"{"name":"f","parameters":{"x":"```"}}"#, #" [{"name":"f","parameters":{"x":"```"}}]"#,
    "```json\n{\"name\": \"f\", \"parameters\": {\"x\":\"```\"}}\n```",
  ])
  func `an answer that begins like a call is one, in whatever pieces`(_ text: String) {
    for count in [1, 2, 5, 1000] {
      let (words, calls) = read(text, pieces: count)
      #expect(words.isEmpty && calls.count == 1, "\(count): \(words)")
      #expect(calls.first?.name == "f")
      #expect(calls.first?.arguments == "{\"x\":\"```\"}")
    }
  }

  @Test(arguments: ["Hello {\"name\"", "", "[1] is a note", "``` code", "  To be"])
  func `words are told as they come, and nothing is lost`(_ text: String) {
    for count in [1, 3, 1000] {
      let (words, calls) = read(text, pieces: count)
      #expect(words == text && calls.isEmpty)
    }
    var reader = ToolCallReader(isForced: false)
    #expect(reader.append("To") == "To" && reader.append(" be") == " be")
  }

  @Test func `a call that was cut short is told as words`() {
    let text = #"{"name":"f","parameters":{"x":1"#
    for isForced in [true, false] {
      let (words, calls) = read(text, isForced: isForced)
      #expect(words == text && calls.isEmpty)
    }
  }

  @Test func `several calls have an identity each`() {
    let text = #"[{"name":"f","parameters":{}},{"name":"g","parameters":{"y":[1,2]}}]"#
    let calls = read(text, isForced: true).calls
    #expect(calls.map(\.name) == ["f", "g"] && calls.map(\.arguments) == ["{}", #"{"y":[1,2]}"#])
    #expect(Set(calls.map(\.id)).count == 2)
  }

  private func chat(_ rest: String) throws -> ChatRequest {
    let tool = #"{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}"#
    let text = #"{"messages":[{"role":"user","content":"hi"}],"tools":[\#(tool)]\#(rest)}"#
    return try ChatRequest(JSON(parsing: Array(text.utf8)))
  }

  @Test func `a choice of tools becomes the rule of the answer`() throws {
    for (rest, use, isRequired, only) in [
      ("", ToolUse.offered, false, ""), (#","tool_choice":"auto""#, .offered, false, ""),
      (#","tool_choice":"required""#, .forced, true, ""),
      (#","tool_choice":{"type":"function","function":{"name":"f"}}"#, .forced, false, "f"),
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

  @Test(arguments: [
    #","tool_choice":{"type":"function","function":{"name":"g"}}"#, #","tool_choice":"maybe""#,
    #","tool_choice":5"#, #","tool_choice":{}"#,
    #","tool_choice":"auto","response_format":{"type":"json_object"}"#,
  ])
  func `a choice that makes no sense is refused`(_ rest: String) {
    let error = #expect(throws: APIError.self) { try chat(rest) }
    #expect(error?.status == 400 && error?.parameter == "tool_choice")
  }
}
