// Splits a Jinja template into text, expressions and statements, and those into tokens. White space
// around blocks is handled as transformers does, with trim_blocks and lstrip_blocks set
// (https://jinja.palletsprojects.com/en/stable/templates/#whitespace-control).

internal import ModelFiles

/// A token inside `{{ }}` or `{% %}`.
enum TemplateToken: Sendable, Hashable, CustomStringConvertible {
  case name(String)
  case string(String)
  case integer(Int)
  case symbol(String)

  var description: String {
    switch self {
    case .name(let text), .symbol(let text): text
    case .string(let text): text.excerpt
    case .integer(let value): "\(value)"
    }
  }
}

/// A piece of a template.
enum TemplateChunk: Sendable, Hashable {
  case text(String)
  case output([TemplateToken])
  case statement([TemplateToken])
}

/// Reads a template from front to back.
struct TemplateLexer {
  private let bytes: [UInt8]
  private var offset = 0
  private var chunks: [TemplateChunk] = []

  private enum Opening {
    case output, statement, comment

    var ends: [UInt8] {
      switch self {
      case .output: Array("}}".utf8)
      case .statement: Array("%}".utf8)
      case .comment: Array("#}".utf8)
      }
    }
  }

  static func chunks(of source: String) throws(GemmaError) -> [TemplateChunk] {
    var lexer = TemplateLexer(source)
    try lexer.run()
    return lexer.chunks
  }

  private init(_ source: String) {
    var text = source.replacing("\r\n", with: "\n").replacing("\r", with: "\n")
    // Jinja drops one line end from the end of a template.
    if text.last == "\n" { text.removeLast() }
    bytes = Array(text.utf8)
  }

  private mutating func run() throws(GemmaError) {
    var startsLine = true
    while offset < bytes.count {
      let start = offset
      guard let (opening, position) = nextOpening() else {
        append(bytes[start...])
        offset = bytes.count
        return
      }
      var text = bytes[start..<position]
      offset = position + 2
      let sign = offset < bytes.count ? bytes[offset] : 0
      if sign == UInt8(ascii: "-") {
        while let last = text.last, Self.isSpace(last) { text.removeLast() }
        offset += 1
      } else if sign == UInt8(ascii: "+") {
        offset += 1
      } else if opening != .output {
        stripIndent(&text, startsLine)
      }
      append(text)
      switch opening {
      case .comment: try skipComment()
      case .output: chunks.append(.output(try tokens(until: opening)))
      case .statement: chunks.append(.statement(try tokens(until: opening)))
      }
      skipBehind(opening)
      startsLine = bytes[offset - 1] == UInt8(ascii: "\n")
    }
  }

  private func nextOpening() -> (Opening, Int)? {
    var position = offset
    while position + 1 < bytes.count {
      if bytes[position] == UInt8(ascii: "{") {
        switch bytes[position + 1] {
        case UInt8(ascii: "{"): return (.output, position)
        case UInt8(ascii: "%"): return (.statement, position)
        case UInt8(ascii: "#"): return (.comment, position)
        default: break
        }
      }
      position += 1
    }
    return nil
  }

  // lstrip_blocks: blanks between the start of a line and a block are removed.
  private func stripIndent(_ text: inout ArraySlice<UInt8>, _ startsLine: Bool) {
    let line = text.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 }
    guard line != nil || startsLine else { return }
    let start = line ?? text.startIndex
    guard text[start...].allSatisfy({ $0 == 0x20 || $0 == 0x09 }) else { return }
    text = text[..<start]
  }

  private mutating func append(_ text: ArraySlice<UInt8>) {
    if !text.isEmpty { chunks.append(.text(String(decoding: text, as: UTF8.self))) }
  }

  private mutating func skipComment() throws(GemmaError) {
    while offset + 1 < bytes.count {
      if bytes[offset] == UInt8(ascii: "#"), bytes[offset + 1] == UInt8(ascii: "}") { return }
      offset += 1
    }
    throw Self.fault("a comment does not end")
  }

  /// Skips the end of a block, and the white space that is removed with it.
  private mutating func skipBehind(_ opening: Opening) {
    let trims = offset > 0 && bytes[offset - 1] == UInt8(ascii: "-") && opening == .comment
    let sign = bytes[offset]
    let hasSign = sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+")
    if hasSign { offset += 1 }
    offset += 2
    if trims || sign == UInt8(ascii: "-") {
      while offset < bytes.count, Self.isSpace(bytes[offset]) { offset += 1 }
    } else if !hasSign, opening != .output, offset < bytes.count,
      bytes[offset] == UInt8(ascii: "\n")
    {
      offset += 1  // trim_blocks
    }
  }

  // MARK: Tokens

  private mutating func tokens(until opening: Opening) throws(GemmaError) -> [TemplateToken] {
    var tokens: [TemplateToken] = []
    var depth = 0
    while true {
      while offset < bytes.count, Self.isSpace(bytes[offset]) { offset += 1 }
      guard offset < bytes.count else { throw Self.fault("an expression does not end") }
      if depth == 0, endsHere(opening) { return tokens }
      let token = try token()
      if case .symbol(let symbol) = token {
        if ["(", "[", "{"].contains(symbol) { depth += 1 }
        if [")", "]", "}"].contains(symbol) { depth -= 1 }
        guard depth >= 0 else { throw Self.fault("a \(symbol) closes nothing") }
      }
      tokens.append(token)
    }
  }

  private func endsHere(_ opening: Opening) -> Bool {
    let rest = bytes[offset...]
    if rest.starts(with: opening.ends) { return true }
    let sign = bytes[offset]
    let mayHaveSign =
      sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") && opening == .statement
    return mayHaveSign && rest.dropFirst().starts(with: opening.ends)
  }

  private mutating func token() throws(GemmaError) -> TemplateToken {
    let byte = bytes[offset]
    if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") { return try string(byte) }
    let start = offset
    if Self.isWord(byte) {
      while offset < bytes.count, Self.isWord(bytes[offset]) { offset += 1 }
      let word = String(decoding: bytes[start..<offset], as: UTF8.self)
      guard (0x30...0x39).contains(byte) else { return .name(word) }
      guard let value = Int(word), offset == bytes.count || bytes[offset] != UInt8(ascii: ".")
      else { throw Self.fault("\(word.excerpt) is not a whole number") }
      return .integer(value)
    }
    let pair = String(decoding: bytes[start..<min(start + 2, bytes.count)], as: UTF8.self)
    if ["==", "!=", "<=", ">=", "//", "**"].contains(pair) {
      offset += 2
      return .symbol(pair)
    }
    offset += 1
    let symbol = String(UnicodeScalar(byte))
    guard "+-*/%~<>=.,:|()[]{}".contains(symbol) else {
      throw Self.fault("\(symbol.excerpt) stands in an expression")
    }
    return .symbol(symbol)
  }

  private mutating func string(_ quote: UInt8) throws(GemmaError) -> TemplateToken {
    offset += 1
    var content: [UInt8] = []
    while offset < bytes.count {
      let byte = bytes[offset]
      offset += 1
      if byte == quote { return .string(String(decoding: content, as: UTF8.self)) }
      guard byte == UInt8(ascii: "\\"), offset < bytes.count else {
        content.append(byte)
        continue
      }
      try appendEscape(to: &content)
    }
    throw Self.fault("a string does not end")
  }

  // Replaces Python's escapes; a backslash before any other character is kept.
  private mutating func appendEscape(to content: inout [UInt8]) throws(GemmaError) {
    let byte = bytes[offset]
    offset += 1
    switch byte {
    case UInt8(ascii: "n"): content.append(0x0A)
    case UInt8(ascii: "t"): content.append(0x09)
    case UInt8(ascii: "r"): content.append(0x0D)
    case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): content.append(byte)
    case 0x0A: break
    case UInt8(ascii: "x"), UInt8(ascii: "u"), UInt8(ascii: "U"):
      let count = byte == UInt8(ascii: "x") ? 2 : byte == UInt8(ascii: "u") ? 4 : 8
      let digits = String(decoding: bytes[offset...].prefix(count), as: UTF8.self)
      guard digits.utf8.count == count, digits.allSatisfy(\.isHexDigit),
        let scalar = UInt32(digits, radix: 16).flatMap(Unicode.Scalar.init)
      else { throw Self.fault("the escape \\\(String(UnicodeScalar(byte))) is not a character") }
      offset += count
      content += Array(String(Character(scalar)).utf8)
    case UInt8(ascii: "a"), UInt8(ascii: "b"), UInt8(ascii: "f"), UInt8(ascii: "v"),
      UInt8(ascii: "N"), UInt8(ascii: "0")...UInt8(ascii: "7"):
      throw Self.fault("the escape \\\(String(UnicodeScalar(byte)))")
    default: content += [UInt8(ascii: "\\"), byte]
    }
  }

  private static func isWord(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: "_") || (0x30...0x39).contains(byte)
      || (0x41...0x5A).contains(byte & 0xDF)
  }

  private static func isSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || (0x09...0x0D).contains(byte)
  }

  private static func fault(_ message: String) -> GemmaError {
    GemmaError(.template, message)
  }
}
