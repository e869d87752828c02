// Calls of tools: what a model must write to call a function.

/// Tools, and how an answer may or must call them.
///
/// In JSON a call is `{"name": …, "parameters": {…}}`, as Gemma's guide has it, and several are a list of these.
/// Gemma 4 has tokens for them: `<|tool_call>call:NAME{…}<tool_call|>`, one behind the other.
package struct ToolCalls: Sendable {
  /// A function that can be called.
  package struct Tool: Sendable {
    package var name: String
    /// The JSON Schema of its parameters, as its text; nil for none.
    package var parameters: String?
    /// Whether objects have only properties that are declared, where the schema does not say.
    package var isStrict: Bool

    package init(name: String, parameters: String?, isStrict: Bool = false) {
      self.name = name
      self.parameters = parameters
      self.isStrict = isStrict
    }
  }

  package enum Choice: Sendable {
    /// Text or a call.
    ///
    /// In JSON it is a call if the first byte that is no white space is `{`, if it begins with a fence
    /// "```json", or, where calls may be parallel, if it begins with `[{`; then it is nothing but the call.
    /// In Gemma 4's notation a call may follow text.
    case auto
    /// One of the tools is called.
    case required
    /// This tool is called.
    case named(String)
  }

  package var tools: [Tool]
  package var choice: Choice
  /// Whether it may be a list of calls, too.
  package var isParallel: Bool
  /// What a text in place of calls must be; nil if anything is good.
  package var words: Words?
  /// How calls are written; words are JSON always.
  package var notation: ValueNotation

  /// A JSON Schema of texts, as its text.
  package struct Words: Sendable {
    package var schema: String
    package var isStrict: Bool

    package init(schema: String, isStrict: Bool) {
      self.schema = schema
      self.isStrict = isStrict
    }
  }

  package init(
    _ tools: [Tool],
    choice: Choice,
    isParallel: Bool = false,
    words: Words? = nil,
    notation: ValueNotation = .json
  ) {
    self.tools = tools
    self.choice = choice
    self.isParallel = isParallel
    self.words = words
    self.notation = notation
  }

  func build(_ builder: inout GrammarBuilder) throws(GrammarError) -> Int32 {
    let wanted: [Tool]
    switch choice {
    case .auto, .required: wanted = tools
    case .named(let name): wanted = tools.filter { $0.name == name }
    }
    guard !wanted.isEmpty else {
      throw GrammarError(.unsatisfiable, "there is no tool to call", at: "tools")
    }
    builder.notation = notation
    let all = try calls(wanted, &builder)
    builder.notation = .json
    guard case .auto = choice else { return all }
    guard let words else { return try auto(all, &builder) }
    let form = try SchemaCompiler.build(
      JSONParser.parse(words.schema),
      strict: words.isStrict,
      &builder
    )
    return try builder.alternatives([all, form])
  }

  /// Calls in one list: a small model that may write more does so until its tokens are used up.
  private static let parallelLimit = 16

  /// One call, or several if that may be.
  private func calls(
    _ tools: [Tool],
    _ builder: inout GrammarBuilder
  ) throws(GrammarError) -> Int32 {
    var single: [Int32] = []
    for tool in tools { single.append(try call(tool, &builder)) }
    let one = try builder.alternatives(single)
    guard isParallel else { return one }
    let rule = try builder.declare("call")
    builder.define(rule, one)
    let each = try builder.call(rule)
    if notation == .gemma4 { return try builder.repeated(each, min: 1, max: Self.parallelLimit) }
    let more = try builder.repeated(
      builder.sequence([builder.comma(), each]),
      min: 0,
      max: Self.parallelLimit - 1
    )
    let list = try builder.sequence([builder.literal("["), each, more, builder.literal("]")])
    return try builder.alternatives([each, list])
  }

  private func call(_ tool: Tool, _ builder: inout GrammarBuilder) throws(GrammarError) -> Int32 {
    let parameters = try parameters(of: tool, &builder)
    builder.require(parameters, at: "tools/\(tool.name)/parameters")
    guard notation == .gemma4 else {
      return try builder.sequence([
        builder.literal("{\"name\":"), builder.blank(),
        builder.literal(GrammarBuilder.quoted(tool.name)), builder.comma(),
        builder.literal("\"parameters\":"), builder.blank(), parameters, builder.literal("}"),
      ])
    }
    guard ValueNotation.isBare(tool.name) else {
      throw GrammarError(
        .unsupported,
        "the model cannot write the name \"\(tool.name)\"; use letters, digits, _ and -",
        at: "tools"
      )
    }
    return try builder.sequence([
      builder.literal(CallMark.callStart.bytes), builder.literal("call:\(tool.name)"), parameters,
      builder.literal(CallMark.callEnd.bytes),
    ])
  }

  /// The object of a call's arguments.
  private func parameters(
    of tool: Tool,
    _ builder: inout GrammarBuilder
  ) throws(GrammarError) -> Int32 {
    do throws(GrammarError) {
      guard let text = tool.parameters else { return try builder.literal("{}") }
      return try SchemaCompiler.build(
        JSONParser.parse(text),
        strict: tool.isStrict,
        isObject: true,
        // Else a model makes up arguments until its tokens are used up.
        closesObjects: true,
        &builder
      )
    } catch {
      var error = error
      error.path = "tools/\(tool.name)/parameters" + error.path.drop { $0 == "#" }
      throw error
    }
  }

  /// Text, or calls.
  private func auto(_ call: Int32, _ builder: inout GrammarBuilder) throws(GrammarError) -> Int32 {
    if notation == .gemma4 {
      let trigger = "[\\s\\S]*<\\|tool_call>[\\s\\S]*"
      let text = try CharacterMachine(pattern: trigger, isAnchored: true, at: "tools").complement
      return try builder.sequence([builder.machine(text, .plain), builder.optional(call)])
    }
    let list = isParallel ? "|\\[[ \\t\\r\\n]*\\{" : ""
    let trigger = "[ \\t\\r\\n]*(?:\\{|```json\(list))[\\s\\S]*"
    let text = try CharacterMachine(pattern: trigger, isAnchored: true, at: "tools").complement
    let space = try builder.add(.bytes(ByteSet([0x09, 0x0A, 0x0D, 0x20])))
    let line = try builder.optional(builder.literal("\n"))
    let fenced = try builder.sequence([
      builder.literal("```json"), builder.repeated(space, min: 0, max: 2), call, line,
      builder.literal("```"), line,
    ])
    return try builder.alternatives([
      builder.sequence([
        builder.repeated(space, min: 0, max: 4), builder.alternatives([call, fenced]),
      ]),
      builder.machine(text, .plain),
    ])
  }
}
