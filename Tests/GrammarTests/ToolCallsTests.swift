// Calls of tools, forced and offered.

import Testing

@testable import Grammar

@Suite struct `Tool calls` {
  private let tools = [
    ToolCalls.Tool(
      name: "weather",
      parameters: #"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#,
      isStrict: true
    ),
    ToolCalls.Tool(name: "now", parameters: nil),
    ToolCalls.Tool(name: "any", parameters: "{}"),
  ]
  private let weather = #"{"name": "weather", "parameters": {"city": "Rome"}}"#
  private let now = #"{"name":"now","parameters":{}}"#

  private func grammar(
    _ choice: ToolCalls.Choice,
    parallel: Bool = false
  ) throws -> CompiledGrammar {
    try CompiledGrammar(.tools(ToolCalls(tools, choice: choice, isParallel: parallel)))
  }

  @Test func `arguments are those that are declared, where some are and nothing else is said`()
    throws
  {
    func call(_ parameters: String) throws -> CompiledGrammar {
      try CompiledGrammar(
        .tools(ToolCalls([ToolCalls.Tool(name: "f", parameters: parameters)], choice: .required))
      )
    }
    let declared = #"{"properties":{"x":{"type":"integer"}}}"#
    #expect(accepts(try call(declared), #"{"name":"f","parameters":{"x":1}}"#))
    #expect(!accepts(try call(declared), #"{"name":"f","parameters":{"y":1}}"#))
    let open = #"{"properties":{"x":{}},"additionalProperties":true}"#
    for parameters in [open, #"{"type":"object"}"#, "{}"] {
      #expect(accepts(try call(parameters), #"{"name":"f","parameters":{"y":1}}"#), "\(parameters)")
    }
  }

  @Test func `a text in place of calls may have a form`() throws {
    let words = ToolCalls.Words(schema: #"{"type":"integer"}"#, isStrict: false)
    let grammar = try CompiledGrammar(.tools(ToolCalls(tools, choice: .auto, words: words)))
    for text in ["7", weather, now] { #expect(accepts(grammar, text), "\(text)") }
    for text in ["Hello", "{}", "7 \(now)"] { #expect(!accepts(grammar, text), "\(text)") }
  }

  @Test func `a required call is one of the tools`() throws {
    let grammar = try grammar(.required)
    for text in [weather, now, #"{"name":"any","parameters":{"x":[1]}}"#] {
      #expect(accepts(grammar, text))
    }
    let bad = [
      "", "Hello", "[\(now)]", #"{"name":"weather","parameters":{}}"#,
      #"{"name":"other","parameters":{}}"#,
      #"{"name":"any","parameters":[]}"#, #"{"name":"weather","parameters":{"city":"a","x":1}}"#,
      now + "x",
    ]
    for text in bad { #expect(!accepts(grammar, text), "\(text)") }
  }

  @Test func `a named call is of this tool`() throws {
    let grammar = try grammar(.named("now"))
    #expect(accepts(grammar, now) && !accepts(grammar, weather))
    #expect(refusal(.tools(ToolCalls(tools, choice: .named("x"))))?.code == .unsatisfiable)
    #expect(refusal(.tools(ToolCalls([], choice: .required)))?.code == .unsatisfiable)
  }

  @Test func `parallel calls are a list`() throws {
    let grammar = try grammar(.required, parallel: true)
    for text in [weather, "[\(now)]", "[\(weather), \(now),\(now)]"] {
      #expect(accepts(grammar, text))
    }
    for text in ["[]", "[\(now)", "[\(now),]"] { #expect(!accepts(grammar, text)) }
  }

  @Test func `auto is free text until it begins like a call`() throws {
    let grammar = try grammar(.auto)
    let good = [
      "", "Hello {", "  \n Hi", "``", "```", "```swift\nlet a = 1\n```", "[1, 2]", "[{", "\u{1}é😀",
      "```jso",
      weather, " \n" + now, "```json\n\(now)\n```", "```json\(weather)```\n", "The call is \(now)",
    ]
    for text in good { #expect(accepts(grammar, text), "\(text)") }
    let bad = [
      "{", "{}", " {\"a\":1}", "```json\n1\n```", "```json\n\(now)", now + " done", "```json",
    ]
    for text in bad { #expect(!accepts(grammar, text), "\(text)") }
    #expect(!accepts(grammar, [0x61, 0xC3]))
  }

  @Test func `auto with parallel calls takes a list for calls`() throws {
    let grammar = try grammar(.auto, parallel: true)
    for text in ["[1]", "[a](b)", "[\(now)]", "[\(now),\(weather)]", "["] {
      #expect(accepts(grammar, text), "\(text)")
    }
    for text in ["[{", "[ {\"a\":1}]"] { #expect(!accepts(grammar, text), "\(text)") }
  }

  @Test func `an error names the tool`() {
    let tool = ToolCalls.Tool(name: "f", parameters: #"{"properties":{"a":{"not":{}}}}"#)
    let error = refusal(.tools(ToolCalls([tool], choice: .auto)))
    #expect(error?.path == "tools/f/parameters/properties/a/not")
  }
}
