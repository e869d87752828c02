// What a grammar can be made from.

/// A source of a grammar.
package enum GrammarSource: Sendable {
  /// A JSON Schema, as its text.
  ///
  /// - Parameter strict: Whether objects have only the properties that are declared, where the
  ///   schema does not say (`additionalProperties` is false unless given).
  case jsonSchema(String, strict: Bool)
  /// Any JSON object.
  case jsonObject
  /// Any JSON value.
  case json
  /// Calls of tools.
  case tools(ToolCalls)
  /// One of these texts.
  case choices([String])
  /// A text that a regular expression of JSON Schema's dialect matches as a whole.
  case pattern(String)
  /// A grammar in llama.cpp's format.
  case gbnf(String)

  func build(_ builder: inout GrammarBuilder) throws(GrammarError) -> Int32 {
    switch self {
    case .jsonSchema(let text, let strict):
      let node = try SchemaCompiler.build(JSONParser.parse(text), strict: strict, &builder)
      builder.require(node, at: "#")
      return node
    case .jsonObject: return try builder.anyObject()
    case .json: return try builder.anyValue()
    case .tools(let calls): return try calls.build(&builder)
    case .choices(let texts):
      guard !texts.isEmpty else { throw GrammarError(.unsatisfiable, "no choice is given") }
      return try builder.oneOf(texts.map { Array($0.utf8) })
    case .pattern(let text):
      let machine = try CharacterMachine(pattern: text, isAnchored: true, at: "")
      return try builder.machine(machine, .plain)
    case .gbnf(let text): return try GBNFParser.build(text, &builder)
    }
  }
}
