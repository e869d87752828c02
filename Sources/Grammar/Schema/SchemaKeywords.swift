// Which keywords of JSON Schema there are: what is compiled, what says nothing about a value, what
// is refused.

enum SchemaKeywords {
  /// What is compiled.
  static let supported: Set<String> = [
    "$ref", "additionalItems", "additionalProperties", "allOf", "anyOf", "const", "enum",
    "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maxLength",
    "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum", "multipleOf",
    "oneOf", "pattern", "patternProperties", "prefixItems", "properties", "propertyNames",
    "required",
    "type", "uniqueItems",
  ]

  /// What names, places or describes, and decides nothing about a value.
  static let annotations: Set<String> = [
    "$anchor", "$comment", "$defs", "$id", "$schema", "$vocabulary", "contentEncoding",
    "contentMediaType", "contentSchema", "default", "definitions", "deprecated", "description",
    "example", "examples", "id", "name", "readOnly", "title", "writeOnly",
  ]

  /// What decides about values in some version of JSON Schema or of OpenAPI, and is not compiled.
  static let refused: Set<String> = [
    "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "contains",
    "dependencies",
    "dependentRequired", "dependentSchemas", "disallow", "discriminator", "divisibleBy", "else",
    "extends", "if", "maxContains", "minContains", "not", "nullable", "propertyDependencies",
    "then",
    "unevaluatedItems", "unevaluatedProperties",
  ]

  /// Refuses what a schema has that is not compiled.
  ///
  /// The standard has validators take unknown keywords for annotations, so they are; where `strict`
  /// they are refused, as one that is misspelt means something.
  static func check(
    _ members: [JSONValue.Member],
    isStrict: Bool,
    at path: String
  ) throws(GrammarError) {
    for member in members where !supported.contains(member.name) {
      if annotations.contains(member.name) || member.name.hasPrefix("x-") { continue }
      let isKnown = refused.contains(member.name)
      guard isKnown || isStrict else { continue }
      throw GrammarError(
        .unsupported,
        isKnown ? "'\(member.name)' is not supported" : "'\(member.name)' is no keyword",
        at: "\(path)/\(SchemaDocument.escaped(member.name))"
      )
    }
    if members.first(where: { $0.name == "uniqueItems" })?.value == .bool(true) {
      throw GrammarError(.unsupported, "'uniqueItems' is not supported", at: "\(path)/uniqueItems")
    }
  }
}
