// GBNF, the format of llama.cpp's grammars (ggml-org/llama.cpp, grammars/README.md).

/// Parses one grammar: rules `name ::= alternatives`, of which `root` is the start.
struct GBNFParser {
  private let scalars: [Unicode.Scalar]
  private var offset = 0
  private var builder: GrammarBuilder
  /// Rules that were named, and whether they have a body.
  private var rules: [String: (index: Int32, isDefined: Bool, line: Int)] = [:]

  /// - Throws: `GrammarError` with the line where it is malformed, or a rule that is missing or
  ///   begins with itself.
  static func build(_ text: String, _ builder: inout GrammarBuilder) throws(GrammarError) -> Int32 {
    guard text.utf8.count <= GrammarLimits.sourceBytes else {
      throw GrammarError(
        .limit,
        "\(text.utf8.count) bytes of GBNF, at most \(GrammarLimits.sourceBytes)"
      )
    }
    var parser = GBNFParser(scalars: Array(text.unicodeScalars), builder: builder)
    try parser.parse()
    builder = parser.builder
    let missing = parser.rules.filter { !$0.value.isDefined }.min { $0.value.line < $1.value.line }
    if let missing {
      throw GrammarError(
        .malformed,
        "rule \(missing.key) is missing",
        at: "line \(missing.value.line)"
      )
    }
    guard let root = parser.rules["root"] else {
      throw GrammarError(.malformed, "rule root is missing")
    }
    return try builder.call(root.index)
  }

  private init(scalars: [Unicode.Scalar], builder: GrammarBuilder) {
    self.scalars = scalars
    self.builder = builder
  }

  private var next: Unicode.Scalar? { offset < scalars.count ? scalars[offset] : nil }

  private var line: Int { scalars[..<min(offset, scalars.count)].count { $0 == "\n" } + 1 }

  private func fault(_ what: String, _ code: GrammarError.Code = .malformed) -> GrammarError {
    GrammarError(code, what, at: "line \(line)")
  }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard next == scalar else { return false }
    offset += 1
    return true
  }

  /// Skips blanks and comments; line ends, too, if they end nothing here.
  private mutating func skip(lineEnds: Bool) {
    while let scalar = next {
      switch scalar {
      case " ", "\t": offset += 1
      case "#":
        while let scalar = next, scalar != "\n", scalar != "\r" {
          _ = scalar
          offset += 1
        }
      case "\n" where lineEnds, "\r" where lineEnds: offset += 1
      default: return
      }
    }
  }

  private mutating func parse() throws(GrammarError) {
    skip(lineEnds: true)
    while next != nil {
      let name = try name()
      let line = line
      skip(lineEnds: false)
      guard take(":"), take(":"), take("=") else { throw fault("no '::=' behind \(name)") }
      skip(lineEnds: true)
      let body = try alternatives(depth: 0)
      let rule = try rule(name)
      guard rules[name]?.isDefined != true else { throw fault("a second rule \(name)") }
      rules[name] = (rule, true, line)
      builder.define(rule, body)
      guard next == nil || next == "\n" || next == "\r" else {
        throw fault("no end of the rule \(name)")
      }
      skip(lineEnds: true)
    }
  }

  private mutating func rule(_ name: String) throws(GrammarError) -> Int32 {
    if let known = rules[name] { return known.index }
    let index = try builder.declare(name)
    rules[name] = (index, false, line)
    return index
  }

  private static func isName(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9", "-", "_": true
    default: false
    }
  }

  private mutating func name() throws(GrammarError) -> String {
    var name = ""
    while let scalar = next, Self.isName(scalar) {
      name.unicodeScalars.append(scalar)
      offset += 1
    }
    guard !name.isEmpty else { throw fault("no name of a rule") }
    return name
  }

  private mutating func alternatives(depth: Int) throws(GrammarError) -> Int32 {
    guard depth <= GrammarLimits.sourceDepth else { throw fault("groups nested too deep", .limit) }
    var branches = [try sequence(depth: depth)]
    while take("|") {
      skip(lineEnds: true)
      branches.append(try sequence(depth: depth))
    }
    return try builder.alternatives(branches)
  }

  private mutating func sequence(depth: Int) throws(GrammarError) -> Int32 {
    var parts: [Int32] = []
    while let atom = try atom(depth: depth) {
      parts.append(try repetitions(atom, depth: depth))
      skip(lineEnds: depth > 0)
    }
    return try builder.sequence(parts)
  }

  /// An item; nil at the end of a sequence.
  private mutating func atom(depth: Int) throws(GrammarError) -> Int32? {
    switch next {
    case "\"": return try text()
    case "[": return try characterClass()
    case ".":
      offset += 1
      return try builder.character(CodePointSet.all, .plain)
    case "(":
      offset += 1
      skip(lineEnds: true)
      let inner = try alternatives(depth: depth + 1)
      guard take(")") else { throw fault("a group that does not end") }
      return inner
    case let scalar? where Self.isName(scalar):
      let name = try name()
      return try builder.call(rule(name))
    default: return nil
    }
  }

  private mutating func repetitions(_ atom: Int32, depth: Int) throws(GrammarError) -> Int32 {
    var node = atom
    while true {
      skip(lineEnds: depth > 0)
      switch next {
      case "*": node = try builder.repeated(node, min: 0, max: nil)
      case "+": node = try builder.repeated(node, min: 1, max: nil)
      case "?": node = try builder.optional(node)
      case "{":
        let (min, max) = try counts()
        node = try builder.repeated(node, min: min, max: max)
        continue
      default: return node
      }
      offset += 1
    }
  }

  private mutating func counts() throws(GrammarError) -> (min: Int, max: Int?) {
    offset += 1
    skip(lineEnds: true)
    let low = number()
    skip(lineEnds: true)
    var high = low
    if take(",") {
      skip(lineEnds: true)
      high = number()
      skip(lineEnds: true)
    } else if low == nil {
      throw fault("no count")
    }
    guard take("}") else { throw fault("counts that do not end") }
    if let low, let high, high < low { throw fault("counts from \(low) to \(high)") }
    return (low ?? 0, high)
  }

  private mutating func number() -> Int? {
    var value: Int?
    while let scalar = next, ("0"..."9").contains(scalar) {
      value = min((value ?? 0) * 10 + Int(scalar.value - 0x30), 1 << 40)
      offset += 1
    }
    return value
  }

  private mutating func text() throws(GrammarError) -> Int32 {
    offset += 1
    var bytes: [UInt8] = []
    while let scalar = next, scalar != "\"" {
      // What is written as `\xE4` is the character U+00E4, as llama.cpp has it.
      bytes += Array(String(try character(scalar)).utf8)
    }
    guard take("\"") else { throw fault("a text that does not end") }
    return try builder.literal(bytes)
  }

  private mutating func characterClass() throws(GrammarError) -> Int32 {
    offset += 1
    let isInverted = take("^")
    var ranges: [ClosedRange<UInt32>] = []
    while let scalar = next, scalar != "]" {
      let low = try character(scalar)
      var high = low
      if next == "-", offset + 1 < scalars.count, scalars[offset + 1] != "]" {
        offset += 1
        high = try character(scalars[offset])
      }
      guard low <= high else { throw fault("a range that runs backwards") }
      ranges.append(low.value...high.value)
    }
    guard take("]") else { throw fault("a class that does not end") }
    let set = CodePointSet(ranges)
    return try builder.character(isInverted ? set.inverted : set, .plain)
  }

  /// A character that may be escaped, and moves behind it.
  private mutating func character(_ first: Unicode.Scalar) throws(GrammarError) -> Unicode.Scalar {
    offset += 1
    guard first == "\\" else { return first }
    guard let escape = next else { throw fault("a backslash at the end") }
    offset += 1
    switch escape {
    case "n": return "\n"
    case "r": return "\r"
    case "t": return "\t"
    case "\"", "\\", "[", "]", "-", "^": return escape
    case "x": return try code(digits: 2)
    case "u": return try code(digits: 4)
    case "U": return try code(digits: 8)
    default: throw fault("the escape \\\(escape)", .unsupported)
    }
  }

  private mutating func code(digits: Int) throws(GrammarError) -> Unicode.Scalar {
    var value: UInt32 = 0
    for _ in 0..<digits {
      guard let digit = next?.hexadecimalValue, value < 1 << 24 else {
        throw fault("no \(digits) hexadecimal digits")
      }
      value = value << 4 | digit
      offset += 1
    }
    guard let scalar = Unicode.Scalar(value) else {
      throw fault("no character has the code \(value)")
    }
    return scalar
  }
}
