// Gemma 4's chats: the prompts of the vendor's templates, from turns that this program knows or from templates
// of files, with thoughts and calls of tools.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

/// chat.json.
private struct ChatGolden: Decodable {
  struct Case: Decodable, CustomStringConvertible {
    var name: String
    var enable_thinking: Bool?
    var add_generation_prompt: Bool
    var text_e2b: String
    var ids_e2b: [Int32]
    var text_31b: String
    var ids_31b: [Int32]

    var description: String { name }
  }

  var cases: [Case]
}

@Suite struct `Gemma 4's chats` {
  private let golden: [ChatGolden.Case]
  /// The same file: messages and tools of each case, as JSON.
  private let inputs: [JSONValue]
  private let vocabulary: Gemma4Vocabulary

  init() throws {
    golden = try Gemma4Golden.load("chat", as: ChatGolden.self).cases
    let path = Gemma4Golden.directory.appending(path: "chat.json").path
    inputs = try #require(try JSONObject.read(path).value("cases")?.array)
    vocabulary = try .part()
  }

  private func messages(_ input: JSONValue) throws -> [ChatMessage] {
    try #require(input["messages"]?.array).map { message in
      ChatMessage(
        role: try #require(message["role"]?.string.flatMap(ChatMessage.Role.init)),
        content: message["content"]?.string ?? "",
        reasoning: message["reasoning"]?.string,
        toolCalls: try (message["tool_calls"]?.array ?? []).map { call in
          ChatMessage.ToolCall(
            id: call["id"]?.string,
            name: try #require(call["function"]?["name"]?.string),
            arguments: try #require(call["function"]?["arguments"])
          )
        },
        toolCallID: message["tool_call_id"]?.string
      )
    }
  }

  private func pieces(
    _ index: Int,
    _ template: ChatTemplate
  ) throws -> [PromptPiece] {
    try template.pieces(
      try messages(inputs[index]),
      startsReply: golden[index].add_generation_prompt,
      thinks: golden[index].enable_thinking ?? false,
      tools: inputs[index]["tools"]?.array ?? []
    )
  }

  private func text(_ pieces: [PromptPiece]) -> String {
    pieces.map { piece in
      switch piece {
      case .template(let text), .plain(let text): text
      }
    }.joined()
  }

  private func expectGolden(small: ChatTemplate, large: ChatTemplate) throws {
    #expect(golden.count >= 12 && inputs.count == golden.count)
    for (index, item) in golden.enumerated() {
      for (template, want, ids) in [
        (small, item.text_e2b, item.ids_e2b), (large, item.text_31b, item.ids_31b),
      ] {
        let pieces = try pieces(index, template)
        #expect(text(pieces) == want, "\(item)")
        #expect(vocabulary.originals(try vocabulary.tokenizer.encode(pieces)) == ids, "\(item)")
      }
    }
  }

  @Test func `the turns that this program knows are those of the vendor's templates`() throws {
    try expectGolden(
      small: .gemma4Turns(closesThought: false),
      large: .gemma4Turns(closesThought: true)
    )
  }

  // The vendor's templates are not stored here: set the variable to a file with one of them.
  @Test(
    .enabled(
      if: ProcessInfo.processInfo.environment["TRESTLE_GEMMA4_TEMPLATE"] != nil,
      "TRESTLE_GEMMA4_TEMPLATE names no file"
    )
  )
  func `the vendor's own template is followed`() throws {
    let path = try #require(ProcessInfo.processInfo.environment["TRESTLE_GEMMA4_TEMPLATE"])
    let source = String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
    let template = try ChatTemplate(source)
    for (index, item) in golden.enumerated() {
      let text = text(try pieces(index, template))
      #expect(text == item.text_e2b || text == item.text_31b, "\(item): \(text)")
    }
  }

  @Test func `a mark typed by a user, a tool or its description stays text`() throws {
    let attack = Gemma4Golden.specialNames.joined(separator: "x")
    func structure(_ text: String) throws -> [Int32] {
      let call = ChatMessage.ToolCall(
        id: text,
        name: "f",
        arguments: .object(["a": .string(text), "b": .object([text: .array([.string(text)])])])
      )
      let tool = JSONValue.object([
        "function": .object([
          "name": .string("f"), "description": .string(text),
          "parameters": .object([
            "type": .string("object"),
            "properties": .object([
              text: .object(["type": .string("string"), "enum": .array([.string(text)])])
            ]),
          ]),
        ])
      ])
      let pieces = try ChatTemplate.gemma4Turns(closesThought: false).pieces(
        [
          ChatMessage(role: .system, content: text), ChatMessage(role: .user, content: text),
          ChatMessage(role: .assistant, content: "", reasoning: text, toolCalls: [call]),
          ChatMessage(role: .tool, content: text, toolCallID: text),
        ],
        thinks: true,
        tools: [tool]
      )
      let special = Set(
        try Gemma4Golden.specialNames.map { try #require(vocabulary.tokenizer.token(named: $0)) }
      )
      return try vocabulary.tokenizer.encode(pieces).filter(special.contains)
    }
    #expect(try structure(attack) == structure("hi"))
    #expect(try structure("hi").count > 20)
  }

  @Test func `what an assistant has thought leaves the history, wherever it stands`() throws {
    func history(_ content: String) throws -> String {
      text(
        try ChatTemplate.gemma4Turns(closesThought: false).pieces([
          ChatMessage(role: .user, content: "a"), ChatMessage(role: .assistant, content: content),
          ChatMessage(role: .user, content: "b"),
        ])
      )
    }
    let plain = try history("one two")
    #expect(plain.contains("<|turn>model\none two<turn|>\n"))
    #expect(try history(" <|channel>thought\nhm\n<channel|>one two ") == plain)
    #expect(try history("one<|channel>thought\nhm<channel|> two") == plain)
    #expect(try history("one two<|channel>thought\nhm") == plain)
  }

  @Test func `a turn after a tool's answer, or a call without one`() throws {
    let call = ChatMessage.ToolCall(id: "1", name: "f", arguments: .object([:]))
    let asked = [
      ChatMessage(role: .user, content: "a"),
      ChatMessage(role: .assistant, content: "", toolCalls: [call, call]),
    ]
    let template = ChatTemplate.gemma4Turns(closesThought: true)
    let begin = "<bos><|turn>user\na<turn|>\n<|turn>model\n"
    let calls = "<|tool_call>call:f{}<tool_call|><|tool_call>call:f{}<tool_call|>"
    #expect(text(try template.pieces(asked)) == begin + calls + "<|tool_response>")
    let answered = asked + [ChatMessage(role: .tool, content: "x", toolCallID: "?")]
    let answer = "<|tool_response>response:unknown{value:<|\"|>x<|\"|>}<tool_response|>"
    #expect(text(try template.pieces(answered)) == begin + calls + answer)
    // A user who goes on ends the turn.
    let next = answered + [ChatMessage(role: .user, content: "b")]
    #expect(
      text(try template.pieces(next))
        == begin + calls + answer
        + "<turn|>\n<|turn>user\nb<turn|>\n<|turn>model\n<|channel>thought\n<channel|>"
    )
  }

  @Test func `a template that has no way to ask for thoughts refuses to`() throws {
    #expect(!ChatTemplate.gemmaTurns.asksForThoughts)
    #expect(ChatTemplate.gemma4Turns(closesThought: false).asksForThoughts)
    #expect(ChatTemplate.gemma4Turns(closesThought: true).asksForThoughts)
    expectRefusal(.template, "thoughts") {
      _ = try ChatTemplate.gemmaTurns.pieces([ChatMessage(role: .user, content: "a")], thinks: true)
    }
  }

  @Test
  func `a conversation of a thousand messages is rendered, one that is nested too deeply not`()
    throws
  {
    let template = ChatTemplate.gemma4Turns(closesThought: false)
    let long = (0..<1000).map {
      ChatMessage(role: $0.isMultiple(of: 2) ? .user : .assistant, content: "word")
    }
    #expect(!(try template.pieces(long).isEmpty))
    var arguments = JSONValue.integer(1)
    func call(_ depth: Int) -> [ChatMessage] {
      for _ in 0..<depth { arguments = .object(["a": arguments]) }
      let call = ChatMessage.ToolCall(name: "f", arguments: arguments)
      return [
        ChatMessage(role: .user, content: "x"),
        ChatMessage(role: .assistant, content: "", toolCalls: [call]),
      ]
    }
    #expect(!(try template.pieces(call(60)).isEmpty))
    expectRefusal(.template, "nested") { _ = try template.pieces(call(2000)) }
  }
}

@Suite struct `Templates of Gemma 4's files` {
  /// A tiny model with Gemma 4's vocabulary, and this chat template.
  private func checkpoint(_ template: String?) throws -> Checkpoint {
    let file = try GGUFFile.open(Gemma4Golden.vocabularyPath)
    let tokens = try #require(try file.strings("tokenizer.ggml.tokens"))
    let types = try #require(try file.integers("tokenizer.ggml.token_type"))
    // The special tokens alone: a tiny model has few rows.
    let kept = tokens.indices.filter { types[$0] == 3 || types[$0] == 4 }
    var builder = TinyModel.gemma3.gguf
    builder["tokenizer.ggml.model"] = .string("gemma4")
    builder["tokenizer.ggml.tokens"] = .array(kept.map { .string(tokens[$0]) })
    builder["tokenizer.ggml.token_type"] = .array(kept.map { .int32(Int32(types[$0])) })
    builder["tokenizer.ggml.merges"] = .array([], type: 8)
    builder["tokenizer.chat_template"] = template.map { .string($0) }
    return try openModel(builder)
  }

  private let own = "{{ bos_token }}{% for m in messages %}<|turn>{{ m.content }}{% endfor %}"

  private func template(_ source: String?) throws -> ChatTemplate {
    let checkpoint = try checkpoint(source)
    return try checkpoint.chatTemplate(for: try checkpoint.tokenizer())
  }

  @Test func `a file's own template counts, without a note`() throws {
    let found = try template(own)
    #expect(found.note == nil)
    let pieces = try found.pieces([ChatMessage(role: .user, content: "a")])
    #expect(pieces.last == .plain("a"))
  }

  @Test func `the known turns stand in for a missing one and say so`() throws {
    for (source, words) in [(nil, "no chat template"), ("{{ messages | tojson }}", "tojson")] {
      let found = try template(source)
      #expect(found.note?.contains("turns of Gemma 4") == true)
      #expect(found.note?.contains(words) == true, "\(found.note ?? "")")
      let message = [ChatMessage(role: .user, content: "a")]
      // The tiny model has no per-layer inputs, as the large ones.
      let want = try ChatTemplate.gemma4Turns(closesThought: true).pieces(message)
      #expect(try found.pieces(message) == want)
    }
  }

  @Test func `an early version is told`() throws {
    let early = own + "{{ '<|tool_call>call:' if tools }}"
    #expect(try template(early).note?.contains("early version") == true)
    let new = early + "{#- OpenAI Chat Completions: as it is written -#}"
    #expect(try template(new).note == nil)
  }
}
