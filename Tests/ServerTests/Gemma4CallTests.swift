// Calls of tools as Gemma 4 writes them: what the grammar lets a model write, what its template writes into a
// history, and what the front door reads must be one notation.

import Foundation
import Gemma
import Grammar
import ModelFiles
import TestSupport
import Testing

@testable import Server

@Suite struct `Gemma 4's calls` {
  private func read(_ text: String, pieces count: Int = 1) -> Server.AnswerPiece {
    Gemma4CallReader().reading(text, pieces: count)
  }

  private func json(_ text: String) throws -> JSON { try JSON(parsing: Array(text.utf8)) }

  private func text(_ pieces: [PromptPiece]) -> String {
    pieces.map { piece in
      switch piece {
      case .template(let text), .plain(let text): text
      }
    }.joined()
  }

  @Test(arguments: [
    (#"{city:<|"|>Paris<|"|>,days:2}"#, #"{"city":"Paris","days":2}"#),
    ("{}", "{}"),
    (
      #"{a:[1,-2.5e3,true,null,<|"|><|"|>],b:{c:[{d:[]}]}}"#,
      #"{"a":[1,-2.5e3,true,null,""],"b":{"c":[{"d":[]}]}}"#
    ),
    ("{a:<|\"|>\"x\\y\"\n{,:}<|\"|x é😀<|\"|>}", #"{"a":"\"x\\y\"\n{,:}<|\"|x é😀"}"#),
    (#"{a:<|"|><<|<|"|>}"#, #"{"a":"<<|"}"#),
    (#"{<|"|>a:b<|"|>:1, größe : 2}"#, #"{"a:b":1,"größe":2}"#),
  ])
  func `arguments become JSON, in whatever pieces`(_ own: String, _ wanted: String) throws {
    for count in [1, 2, 5, 1000] {
      let answer = read("<|tool_call>call:f\(own)<tool_call|>", pieces: count)
      #expect(answer.text.isEmpty && answer.calls.map(\.name) == ["f"], "\(count): \(answer.text)")
      #expect(answer.calls.first?.arguments == wanted)
      _ = try json(answer.calls.first?.arguments ?? "")
    }
  }

  @Test func `several calls may follow words, and nothing of the words is lost`() {
    let text = "a <|tool <|tool_call>call:f{x:1}<tool_call|><|tool_call>call:g{}<tool_call|> b <|"
    for count in [1, 3, 1000] {
      let answer = read(text, pieces: count)
      #expect(answer.text == "a <|tool  b <|")
      #expect(answer.calls.map(\.name) == ["f", "g"] && answer.calls.map(\.index) == [0, 1])
      #expect(answer.calls.map(\.arguments) == [#"{"x":1}"#, "{}"])
      #expect(Set(answer.calls.map(\.id)).count == 2)
    }
  }

  @Test func `a call that was cut short is told as far as it came`() {
    let cut = read(#"<|tool_call>call:f{x:<|"|>ab<|"#)
    #expect(cut.text.isEmpty && cut.calls.map(\.arguments) == [#"{"x":"ab"#])
    let nameless = read("Well <|tool_call>call:f")
    #expect(nameless.text == "Well " && nameless.calls.isEmpty)
  }

  // MARK: The vendor's form

  private func allows(_ calls: ToolCalls, _ text: String) throws -> Bool {
    let vocabulary = TokenVocabulary(
      tokens: (0...255).map { [UInt8($0)] } + [nil],
      endTokens: [256]
    )
    var state = GrammarState(try CompiledGrammar(.tools(calls)), vocabulary)
    // Marks are tokens.
    var (rest, bytes) = (text[...], [UInt8]())
    while let first = rest.first {
      if let mark = CallMark.allCases.first(where: { rest.hasPrefix($0.text) }) {
        bytes.append(mark.rawValue)
        rest = rest.dropFirst(mark.text.count)
      } else {
        bytes += String(first).utf8
        rest.removeFirst()
      }
    }
    return state.accept(bytes: bytes) && state.isComplete
  }

  @Test
  func `a call in the vendor's prompts is one that the grammar allows, and is read as it was`()
    throws
  {
    let path = Goldens.directory.appending(path: "gemma4-chat/chat.json").path
    let cases = try #require(try JSONObject.read(path).value("cases")?.array)
    var count = 0
    for item in cases {
      guard let prompt = item["text_e2b"]?.string,
        let message = item["messages"]?.array?.first(where: { $0["tool_calls"] != nil }),
        let function = message["tool_calls"]?.array?.first?["function"],
        let start = prompt.range(of: "<|tool_call>"),
        let end = prompt.range(of: "<tool_call|>")
      else { continue }
      let tools = try (item["tools"]?.array ?? []).map { tool in
        let parameters = try #require(tool["function"]?["parameters"])
        return ToolCalls.Tool(
          name: try #require(tool["function"]?["name"]?.string),
          parameters: JSON(parameters).text
        )
      }
      let call = String(prompt[start.lowerBound..<end.upperBound])
      #expect(try allows(ToolCalls(tools, choice: .required, notation: .gemma4), call), "\(call)")
      let answer = read(call)
      #expect(answer.calls.first?.name == function["name"]?.string)
      #expect(try JSONValue(json(answer.calls.first?.arguments ?? "")) == function["arguments"])
      count += 1
    }
    #expect(count >= 3)
  }

  @Test func `any arguments that the template writes are allowed, and read as they were`() throws {
    var random = SeededRandom(7)
    let tool = ToolCalls.Tool(name: "f", parameters: "{}")
    let calls = ToolCalls([tool], choice: .auto, notation: .gemma4)
    for _ in 0..<200 {
      let arguments = JSONValue.object([
        "a": value(&random, depth: 0), "b_2": value(&random, depth: 0),
      ])
      let call = ChatMessage.ToolCall(id: "1", name: "f", arguments: arguments)
      let prompt = text(
        try ChatTemplate.gemma4Turns(closesThought: false).pieces([
          ChatMessage(role: .user, content: "u"),
          ChatMessage(role: .assistant, content: "", toolCalls: [call]),
        ])
      )
      let start = try #require(prompt.range(of: "<|tool_call>"))
      let end = try #require(prompt.range(of: "<tool_call|>", options: .backwards))
      let written = String(prompt[start.lowerBound..<end.upperBound])
      #expect(try allows(calls, written), "\(written)")
      let answer = read(written, pieces: Int.random(in: 1...9, using: &random))
      #expect(try JSONValue(json(answer.calls.first?.arguments ?? "")) == arguments, "\(written)")
    }
  }

  private func value(_ random: inout SeededRandom, depth: Int) -> JSONValue {
    switch Int.random(in: 0...(depth < 3 ? 6 : 4), using: &random) {
    case 0: return .null
    case 1: return .bool(.random(using: &random))
    case 2: return .integer(.random(in: -1_000_000...1_000_000, using: &random))
    case 3, 4:
      let parts = [
        "<", "|", "\"", ">", "\\", "\n", "é", "{", "}", ",", ":", "a", " ", "\u{1}", "😀",
      ]
      let count = Int.random(in: 0...12, using: &random)
      let text = (0..<count).map { _ in parts.randomElement(using: &random) ?? "" }.joined()
      return .string(text.replacingOccurrences(of: "<|\"|>", with: ""))
    case 5:
      return .array(
        (0..<Int.random(in: 0...3, using: &random)).map { _ in value(&random, depth: depth + 1) }
      )
    default:
      return .object([
        "x": value(&random, depth: depth + 1), "y-z": value(&random, depth: depth + 1),
      ])
    }
  }

  // MARK: Prompts

  private let template = ChatTemplate.gemma4Turns(closesThought: false)

  @Test func `a template of Gemma 4 is known by how it writes a call`() throws {
    #expect(template.writesGemma4Calls && !ChatTemplate.gemmaTurns.writesGemma4Calls)
    let plain = try ChatTemplate(
      "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    #expect(!plain.writesGemma4Calls)
  }

  @Test func `results stay behind their calls, and others are what the user says`() throws {
    let call = ChatMessage.ToolCall(id: "1", name: "f", arguments: .object([:]))
    let other = ChatMessage.ToolCall(id: "2", name: "g", arguments: .object([:]))
    let messages = TextModel.merged(
      TextModel.withAnsweredCalls([
        ChatMessage(role: .developer, content: "s"),
        ChatMessage(role: .user, content: "u"),
        ChatMessage(role: .assistant, content: "", reasoning: "r", toolCalls: [call]),
        ChatMessage(role: .assistant, content: "", toolCalls: [other]),
        ChatMessage(role: .tool, content: "one", toolCallID: "1"),
        ChatMessage(role: .tool, content: "two", toolCallID: "2"),
        ChatMessage(role: .assistant, content: "done"),
        ChatMessage(role: .tool, content: "late", toolCallID: "9"),
      ])
    )
    #expect(messages.map(\.role) == [.system, .user, .assistant, .tool, .tool, .assistant, .user])
    #expect(messages[2].toolCalls == [call, other] && messages[2].reasoning == "r")
    let prompt = text(try template.pieces(messages))
    #expect(
      prompt.contains(
        "<tool_call|><|tool_response>response:f{value:<|\"|>one<|\"|>}<tool_response|>"
          + "<|tool_response>response:g{value:<|\"|>two<|\"|>}<tool_response|>"
      )
    )
    #expect(prompt.contains("<|turn>user\nlate<turn|>"))
  }

  private func declaration(_ parameters: String) throws -> String {
    let tool = try json(#"{"type":"function","function":{"name":"f","parameters":\#(parameters)}}"#)
    let prompt = text(
      try template.pieces(
        [ChatMessage(role: .user, content: "u")],
        tools: [ToolDeclaration.declared(tool)]
      )
    )
    let start = try #require(prompt.range(of: "parameters:"))
    let end = try #require(prompt.range(of: "}<tool|>"))
    return prompt[start.upperBound..<end.lowerBound].replacingOccurrences(of: "<|\"|>", with: "'")
  }

  @Test func `references, alternatives and nulls are shown as what a template knows`() throws {
    #expect(
      try declaration(
        #"""
        {"type":"object","required":["a"],"properties":{
          "a":{"$ref":"#/$defs/A","description":"d"},
          "b":{"anyOf":[{"type":"integer"},{"type":"null"}]},
          "c":{"type":["string","null"],"enum":["x","y",null]},
          "e":{"allOf":[{"properties":{"p":{"const":"q"}}},{"properties":{"r":{"items":{"type":"number"}}}}]}},
         "$defs":{"A":{"type":"object","properties":{"n":{"type":"string"},"again":{"$ref":"#/$defs/A"}}}}}
        """#
      ).hasPrefix("{properties:{a:{description:'d',properties:{again:{properties:{again:{")
    )
    #expect(
      try declaration(
        #"{"properties":{"b":{"anyOf":[{"type":"integer"},{"type":"null"}]},"c":{"type":["string","null"],"enum":["x",null]}}}"#
      )
        == "{properties:{b:{nullable:true,type:'INTEGER'},c:{enum:['x'],nullable:true,type:'STRING'}},type:'OBJECT'}"
    )
    #expect(
      try declaration(
        #"{"allOf":[{"properties":{"p":{"const":"q"}}},{"properties":{"r":{"items":{"type":"number"}}}}]}"#
      )
        == "{properties:{p:{enum:['q'],type:'STRING'},r:{items:{type:'NUMBER'},type:'ARRAY'}},type:'OBJECT'}"
    )
    let either = try declaration(
      #"{"properties":{"x":{"oneOf":[{"type":"string"},{"type":"integer"}]}}}"#
    )
    #expect(either.contains(#"One of: {"type":"string"} or {"type":"integer"}"#))
  }

  @Test func `a schema whose references multiply is shown in part`() throws {
    let names = (0..<8).map { ##""p\##($0)":{"$ref":"#"}"## }.joined(separator: ",")
    let shown = try declaration(#"{"type":"object","properties":{\#(names)}}"#)
    #expect((1_000...200_000).contains(shown.utf8.count))
  }
}
