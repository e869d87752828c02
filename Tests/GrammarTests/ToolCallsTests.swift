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
    let none = #"{"type":"object","properties":{}}"#
    #expect(accepts(try call(none), #"{"name":"f","parameters":{}}"#))
    #expect(!accepts(try call(none), #"{"name":"f","parameters":{"y":1}}"#))
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

  // MARK: Gemma 4's notation

  private func own(
    _ parameters: String,
    _ choice: ToolCalls.Choice = .required,
    parallel: Bool = false
  ) -> GrammarSource {
    let tool = ToolCalls.Tool(name: "f", parameters: parameters)
    return .tools(ToolCalls([tool], choice: choice, isParallel: parallel, notation: .gemma4))
  }

  /// Whether a call with these arguments is allowed; ' stands for the mark of strings.
  private func takes(_ parameters: String, _ arguments: String) throws -> Bool {
    let text = "<|tool_call>call:f\(arguments)<tool_call|>".replacing("'", with: "<|\"|>")
    return accepts(try CompiledGrammar(own(parameters)), marked(text))
  }

  @Test(arguments: [
    (
      #"{"properties":{"a":{"type":"string"}}}"#, ["{}", "{a:''}", "{a:'\"\\\n<|\"|é'}"],
      ["{a:x}", "{\"a\":''}", "{a: ''}", "{b:''}"]
    ),
    (
      #"{"properties":{"a":{"type":"string","minLength":1,"maxLength":3}}}"#,
      ["{a:'<|x'}", "{a:'é'}"], ["{a:''}", "{a:'abcd'}"]
    ),
    (
      #"{"properties":{"a":{"type":"string","maxLength":600}}}"#, ["{a:''}", "{a:'x>y'}"],
      ["{a:'x<y'}"]
    ),
    (
      #"{"properties":{"a":{"type":"string","pattern":"^[<|>\"]+$"}}}"#,
      ["{a:'<<|>'}", "{a:'\"'}"], ["{a:''}", "{a:'<|\"|>'}"]
    ),
    (
      #"{"properties":{"a":{"enum":["x y",1,null,true,["z"],{"k":2}]}}}"#,
      ["{a:'x y'}", "{a:1}", "{a:null}", "{a:['z']}", "{a:{k:2}}"], ["{a:x y}", "{a:{'k':2}}"]
    ),
    (
      #"{"properties":{"a:b":{"type":"integer"}},"required":["a:b"]}"#, ["{'a:b':7}"],
      ["{a:b:7}", "{}"]
    ),
    (
      #"{"additionalProperties":{"type":"array","items":{"type":"number"}}}"#,
      ["{größe:[1,2.5]}", "{a:[],b:[1]}"], ["{a:['x']}", "{:[]}", "{a b:[]}"]
    ),
    ("{}", ["{x:{y:[null,false,'']}}"], ["{x:undefined}"]),
  ])
  func `schemas hold in Gemma 4's notation`(
    _ parameters: String,
    _ good: [String],
    _ bad: [String]
  ) throws {
    for arguments in good {
      #expect(try takes(parameters, arguments), "\(parameters) refuses \(arguments)")
    }
    for arguments in bad {
      #expect(try !takes(parameters, arguments), "\(parameters) accepts \(arguments)")
    }
  }

  @Test func `in Gemma 4's notation calls follow each other, and words if they are offered`() throws
  {
    let call = "<|tool_call>call:f{x:1}<tool_call|>"
    let one = try CompiledGrammar(own("{}"))
    let several = try CompiledGrammar(own("{}", parallel: true))
    let offered = try CompiledGrammar(own("{}", .auto))
    #expect(accepts(one, marked(call)) && !accepts(one, marked(call + call)) && !accepts(one, ""))
    #expect(
      accepts(several, marked(call + call + call)) && !accepts(several, marked(call + "," + call))
    )
    // The text of a mark in other tokens is no mark, and no text either.
    #expect(!accepts(one, call) && !accepts(offered, call))
    for text in ["", "Hello {", "<|tool", call, "I ask. " + call] {
      #expect(accepts(offered, marked(text)))
    }
    for text in [call + " done", "<|tool_call>", "<|tool_call>call:g{}<tool_call|>"] {
      #expect(!accepts(offered, marked(text)), "\(text)")
    }
  }

  @Test func `words in place of Gemma 4's calls are JSON`() throws {
    let words = ToolCalls.Words(schema: #"{"properties":{"a":{"type":"string"}}}"#, isStrict: true)
    let grammar = try CompiledGrammar(
      .tools(ToolCalls(tools, choice: .auto, words: words, notation: .gemma4))
    )
    #expect(accepts(grammar, #"{"a": "x"}"#) && !accepts(grammar, marked("{a:<|\"|>x<|\"|>}")))
    #expect(accepts(grammar, marked("<|tool_call>call:now{}<tool_call|>")))
  }

  @Test func `what Gemma 4's notation cannot hold is refused`() {
    let mark = #"{"properties":{"a":{"enum":["<|\"|>"]}}}"#
    #expect(refusal(own(mark))?.code == .unsupported)
    #expect(refusal(own(mark))?.path.hasPrefix("tools/f/parameters") == true)
    let tool = ToolCalls.Tool(name: "a{b", parameters: nil)
    #expect(
      refusal(.tools(ToolCalls([tool], choice: .auto, notation: .gemma4)))?.code == .unsupported
    )
  }

  @Test func `a tool whose parameters nothing satisfies is named, beside another, too`() {
    for (parameters, choice) in [
      (#"{"type":"string"}"#, ToolCalls.Choice.required),
      (#"{"properties":{"a":false},"required":["a"]}"#, .auto),
      (#"{"properties":{"a":{"enum":[]}},"required":["a"]}"#, .named("f")),
    ] {
      let calls = ToolCalls(
        [ToolCalls.Tool(name: "f", parameters: parameters)] + tools,
        choice: choice
      )
      let error = refusal(.tools(calls))
      #expect(error?.code == .unsatisfiable && error?.path == "tools/f/parameters")
    }
    #expect(
      refusal(.jsonSchema(#"{"type":"string","minLength":2,"maxLength":1}"#, strict: false))?.path
        == "#"
    )
  }

  @Test func `an error names the tool`() {
    let tool = ToolCalls.Tool(name: "f", parameters: #"{"properties":{"a":{"not":{}}}}"#)
    let error = refusal(.tools(ToolCalls([tool], choice: .auto)))
    #expect(error?.path == "tools/f/parameters/properties/a/not")
  }
}
