// Parses the expressions of a chat template, by recursive descent.

internal import ModelFiles

/// Turns the tokens of one expression or statement into a tree.
struct TemplateExpressionParser {
  private let tokens: [TemplateToken]
  /// The functions that the template defines.
  private let macros: Set<String>
  private var position = 0
  private var depth = 0

  init(_ tokens: [TemplateToken], macros: Set<String>) {
    self.tokens = tokens
    self.macros = macros
  }

  private var next: TemplateToken? { position < tokens.count ? tokens[position] : nil }

  /// Parses an expression that must consume all tokens.
  mutating func whole() throws(GemmaError) -> TemplateExpression {
    let expression = try expression()
    try end()
    return expression
  }

  func end() throws(GemmaError) {
    if let next { throw fault("\(next) stands where an expression ends") }
  }

  mutating func take(_ token: TemplateToken) -> Bool {
    guard next == token else { return false }
    position += 1
    return true
  }

  mutating func expect(_ token: TemplateToken) throws(GemmaError) {
    guard take(token) else {
      throw fault("\(next?.description ?? "an end") stands where \(token) is expected")
    }
  }

  mutating func name() throws(GemmaError) -> String {
    guard case .name(let name)? = next else {
      throw fault("\(next?.description ?? "an end") stands where a name is expected")
    }
    position += 1
    return name
  }

  mutating func expression() throws(GemmaError) -> TemplateExpression {
    depth += 1
    defer { depth -= 1 }
    guard depth < TemplateParser.depthLimit else {
      throw fault("an expression nested more than \(TemplateParser.depthLimit) deep")
    }
    let value = try withoutChoice()
    guard take(.name("if")) else { return value }
    let condition = try withoutChoice()
    let otherwise = take(.name("else")) ? try expression() : nil
    return .choice(value, condition: condition, otherwise: otherwise)
  }

  /// Parses an expression without a trailing `if`, which means something else in the head of a
  /// loop.
  mutating func withoutChoice() throws(GemmaError) -> TemplateExpression {
    var left = try conjunction()
    while take(.name("or")) { left = .binary(.or, left, try conjunction()) }
    return left
  }

  private mutating func conjunction() throws(GemmaError) -> TemplateExpression {
    var left = try negation()
    while take(.name("and")) { left = .binary(.and, left, try negation()) }
    return left
  }

  private mutating func negation() throws(GemmaError) -> TemplateExpression {
    var count = 0
    while take(.name("not")) { count += 1 }
    let value = try comparison()
    // `not not x` is a truth value, while x may be any value.
    return count == 0 ? value : count.isMultiple(of: 2) ? .not(.not(value)) : .not(value)
  }

  private mutating func comparison() throws(GemmaError) -> TemplateExpression {
    let left = try sum()
    guard let (kind, isNegated) = comparisonOperator() else { return left }
    let compared = TemplateExpression.binary(kind, left, try sum())
    guard comparisonOperator() == nil else { throw fault("a chain of comparisons") }
    return isNegated ? .not(compared) : compared
  }

  private mutating func comparisonOperator() -> (TemplateExpression.Operator, Bool)? {
    for kind: TemplateExpression.Operator in [
      .equal, .unequal, .less, .greater, .atMost, .atLeast,
    ] where take(.symbol(kind.rawValue)) { return (kind, false) }
    if take(.name("in")) { return (.contained, false) }
    guard next == .name("not"), position + 1 < tokens.count, tokens[position + 1] == .name("in")
    else { return nil }
    position += 2
    return (.contained, true)
  }

  private mutating func sum() throws(GemmaError) -> TemplateExpression {
    var left = try joined()
    while true {
      if take(.symbol("+")) {
        left = .binary(.add, left, try joined())
      } else if take(.symbol("-")) {
        left = .binary(.subtract, left, try joined())
      } else {
        return left
      }
    }
  }

  private mutating func joined() throws(GemmaError) -> TemplateExpression {
    var left = try product()
    while take(.symbol("~")) { left = .binary(.join, left, try product()) }
    return left
  }

  private mutating func product() throws(GemmaError) -> TemplateExpression {
    var left = try unary()
    while take(.symbol("%")) { left = .binary(.remainder, left, try unary()) }
    if case .symbol(let symbol)? = next, ["*", "/", "//", "**"].contains(symbol) {
      throw fault("the operator \(symbol)")
    }
    return left
  }

  private mutating func unary() throws(GemmaError) -> TemplateExpression {
    var value: TemplateExpression
    if take(.symbol("-")) {
      value = .negative(try postfixed(try primary()))
    } else {
      value = try postfixed(try primary())
    }
    while true {
      if take(.symbol("|")) {
        let name = try known(try name(), TemplateVocabulary.filters, "filter")
        value = .filter(value, name, take(.symbol("(")) ? try arguments() : [])
      } else if take(.name("is")) {
        let isNegated = take(.name("not"))
        let test = TemplateExpression.test(
          value,
          try known(try name(), TemplateVocabulary.tests, "test")
        )
        value = isNegated ? .not(test) : test
      } else {
        return value
      }
    }
  }

  private mutating func postfixed(
    _ value: TemplateExpression
  ) throws(GemmaError) -> TemplateExpression {
    var value = value
    while true {
      if take(.symbol(".")) {
        let name = try name()
        if take(.symbol("(")) {
          _ = try known(name, TemplateVocabulary.methods, "method")
          value = .method(value, name, try arguments())
        } else {
          value = .member(value, .string(name))
        }
      } else if take(.symbol("[")) {
        value = try subscripted(value)
      } else {
        return value
      }
    }
  }

  private mutating func subscripted(
    _ value: TemplateExpression
  ) throws(GemmaError) -> TemplateExpression {
    let from = next == .symbol(":") ? nil : try expression()
    guard take(.symbol(":")) else {
      try expect(.symbol("]"))
      return from.map { .member(value, $0) } ?? value
    }
    if next == .symbol(":") { throw fault("a slice with a step") }
    let to = next == .symbol("]") ? nil : try expression()
    try expect(.symbol("]"))
    return .slice(value, from: from, to: to)
  }

  private mutating func primary() throws(GemmaError) -> TemplateExpression {
    guard let token = next else { throw fault("an expression is missing") }
    position += 1
    switch token {
    case .integer(let value): return .integer(value)
    case .string(var text):
      while case .string(let more)? = next {
        text += more
        position += 1
      }
      return .string(text)
    case .name("true"), .name("True"): return .bool(true)
    case .name("false"), .name("False"): return .bool(false)
    case .name("none"), .name("None"): return .nothing
    case .name(let name):
      guard take(.symbol("(")) else { return .name(name) }
      if macros.contains(name) { return .call(name, try arguments()) }
      return .call(try known(name, TemplateVocabulary.functions, "function"), try arguments())
    case .symbol("("):
      let value = try expression()
      if next == .symbol(",") { throw fault("a tuple") }
      try expect(.symbol(")"))
      return value
    case .symbol("["): return .list(try elements(until: "]"))
    case .symbol("{"): return .map(try members())
    case .symbol(let symbol): throw fault("\(symbol) stands where a value is expected")
    }
  }

  private mutating func elements(
    until end: String
  ) throws(GemmaError) -> [TemplateExpression] {
    var elements: [TemplateExpression] = []
    while !take(.symbol(end)) {
      elements.append(try expression())
      if take(.symbol(",")) { continue }
      try expect(.symbol(end))
      break
    }
    return elements
  }

  private mutating func members() throws(GemmaError) -> [TemplateExpression.Member] {
    var members: [TemplateExpression.Member] = []
    while !take(.symbol("}")) {
      let key = try expression()
      try expect(.symbol(":"))
      members.append(TemplateExpression.Member(key: key, value: try expression()))
      if take(.symbol(",")) { continue }
      try expect(.symbol("}"))
      break
    }
    return members
  }

  private mutating func arguments() throws(GemmaError) -> [TemplateExpression.Argument] {
    var arguments: [TemplateExpression.Argument] = []
    while !take(.symbol(")")) {
      var name: String?
      if case .name(let word)? = next, position + 1 < tokens.count,
        tokens[position + 1] == .symbol("=")
      {
        name = word
        position += 2
      }
      arguments.append(TemplateExpression.Argument(name: name, value: try expression()))
      if take(.symbol(",")) { continue }
      try expect(.symbol(")"))
      break
    }
    return arguments
  }

  /// Parses the parameters of a macro, with their parentheses.
  mutating func parameters() throws(GemmaError) -> [TemplateNode.Parameter] {
    try expect(.symbol("("))
    var parameters: [TemplateNode.Parameter] = []
    while !take(.symbol(")")) {
      let name = try name()
      let initial = take(.symbol("=")) ? try expression() : nil
      parameters.append(TemplateNode.Parameter(name: name, initial: initial))
      if take(.symbol(",")) { continue }
      try expect(.symbol(")"))
      break
    }
    return parameters
  }

  private func known(
    _ name: String,
    _ names: Set<String>,
    _ kind: String
  ) throws(GemmaError) -> String {
    guard names.contains(name) else { throw fault("the \(kind) \(name.excerpt)") }
    return name
  }

  private func fault(_ message: String) -> GemmaError { GemmaError(.template, message) }
}
