// Parses a chat template. Precedence is Jinja's (jinja2/parser.py): `not`, comparisons, sums, `~`,
// products; filters and tests bind to the operand directly before them.

internal import ModelFiles

/// Converts chunks into statements.
struct TemplateParser {
  private var chunks: ArraySlice<TemplateChunk>
  /// The names of all macros, which may be called before they are defined.
  private let macros: Set<String>
  private var depth = 0
  private var loopDepth = 0

  // Real templates nest statements seven deep; the limit protects the stack against a hostile
  // template.
  static let depthLimit = 64

  static func parse(_ source: String) throws(GemmaError) -> [TemplateNode] {
    var parser = TemplateParser(chunks: try TemplateLexer.chunks(of: source)[...])
    let nodes = try parser.nodes(until: [])
    return nodes
  }

  private init(chunks: ArraySlice<TemplateChunk>) {
    self.chunks = chunks
    var macros: Set<String> = []
    for case .statement(let tokens) in chunks {
      if case (.name("macro")?, .name(let name)?) = (tokens.first, tokens.dropFirst().first) {
        macros.insert(name)
      }
    }
    self.macros = macros
  }

  private func reader(_ tokens: some Sequence<TemplateToken>) -> TemplateExpressionParser {
    TemplateExpressionParser(Array(tokens), macros: macros)
  }

  /// Parses up to a statement that begins with one of the given words, and does not consume that
  /// statement.
  private mutating func nodes(until ends: Set<String>) throws(GemmaError) -> [TemplateNode] {
    depth += 1
    defer { depth -= 1 }
    guard depth < Self.depthLimit else {
      throw GemmaError(.template, "statements nested more than \(Self.depthLimit) deep")
    }
    var nodes: [TemplateNode] = []
    while let chunk = chunks.first {
      switch chunk {
      case .text(let text): nodes.append(.text(text))
      case .output(let tokens):
        var reader = reader(tokens)
        nodes.append(.output(try reader.whole()))
      case .statement(let tokens):
        guard case .name(let word)? = tokens.first else {
          throw GemmaError(.template, "a statement without a name")
        }
        if ends.contains(word) { return nodes }
        chunks.removeFirst()
        if let node = try statement(word, tokens.dropFirst()) { nodes.append(node) }
        continue
      }
      chunks.removeFirst()
    }
    guard ends.isEmpty else {
      throw GemmaError(.template, "\(ends.sorted().joined(separator: " or ")) is missing")
    }
    return nodes
  }

  private mutating func statement(
    _ word: String,
    _ tokens: ArraySlice<TemplateToken>
  ) throws(GemmaError) -> TemplateNode? {
    var reader = reader(tokens)
    switch word {
    case "if": return try branch(&reader)
    case "for": return try loop(&reader)
    case "set": return try assignment(&reader)
    case "macro": return try macro(&reader)
    case "break", "continue":
      try reader.end()
      guard loopDepth > 0 else { throw GemmaError(.template, "a \(word) outside of a loop") }
      return word == "break" ? .breakLoop : .continueLoop
    // transformers marks the assistant's text with these words, for training; they change no text.
    case "generation", "endgeneration":
      try reader.end()
      return nil
    default: throw GemmaError(.template, "the statement \(word.excerpt)")
    }
  }

  private mutating func branch(
    _ reader: inout TemplateExpressionParser
  ) throws(GemmaError) -> TemplateNode {
    var branches: [TemplateNode.Branch] = []
    var condition = try reader.whole()
    while true {
      branches.append(
        TemplateNode.Branch(
          condition: condition,
          body: try nodes(until: ["elif", "else", "endif"])
        )
      )
      var (word, next) = try closing()
      if word == "elif" {
        condition = try next.whole()
        continue
      }
      try next.end()
      var otherwise: [TemplateNode] = []
      if word == "else" {
        otherwise = try nodes(until: ["endif"])
        (word, next) = try closing()
        try next.end()
      }
      return .branch(branches, otherwise: otherwise)
    }
  }

  private mutating func loop(
    _ reader: inout TemplateExpressionParser
  ) throws(GemmaError) -> TemplateNode {
    var names = [try reader.name()]
    while reader.take(.symbol(",")) { names.append(try reader.name()) }
    try reader.expect(.name("in"))
    let elements = try reader.withoutChoice()
    var condition: TemplateExpression?
    if reader.take(.name("if")) { condition = try reader.expression() }
    try reader.end()
    loopDepth += 1
    let body = try nodes(until: ["else", "endfor"])
    loopDepth -= 1
    var (word, next) = try closing()
    try next.end()
    var otherwise: [TemplateNode] = []
    if word == "else" {
      otherwise = try nodes(until: ["endfor"])
      (word, next) = try closing()
      try next.end()
    }
    return .loop(
      TemplateNode.Loop(
        names: names,
        elements: elements,
        condition: condition,
        body: body,
        otherwise: otherwise
      )
    )
  }

  private mutating func macro(
    _ reader: inout TemplateExpressionParser
  ) throws(GemmaError) -> TemplateNode {
    let name = try reader.name()
    guard !TemplateVocabulary.functions.contains(name) else {
      throw GemmaError(.template, "a macro with the name \(name.excerpt) of a function")
    }
    let parameters = try reader.parameters()
    try reader.end()
    // A loop around the definition is none around the body.
    let loops = loopDepth
    loopDepth = 0
    let body = try nodes(until: ["endmacro"])
    loopDepth = loops
    try closing().1.end()
    return .macro(TemplateNode.Macro(name: name, parameters: parameters, body: body))
  }

  private mutating func assignment(
    _ reader: inout TemplateExpressionParser
  ) throws(GemmaError) -> TemplateNode {
    let name = try reader.name()
    let member = reader.take(.symbol(".")) ? try reader.name() : nil
    if reader.take(.symbol("=")) {
      return .set(name: name, member: member, value: try reader.whole())
    }
    try reader.end()
    guard member == nil else { throw GemmaError(.template, "a block set of a member") }
    let body = try nodes(until: ["endset"])
    try closing().1.end()
    return .setBlock(name: name, body: body)
  }

  /// Consumes the statement at which `nodes` has ended.
  private mutating func closing() throws(GemmaError) -> (String, TemplateExpressionParser) {
    guard case .statement(let tokens)? = chunks.popFirst(), case .name(let word)? = tokens.first
    else { throw GemmaError(.template, "a block does not end") }
    return (word, reader(tokens.dropFirst()))
  }
}
