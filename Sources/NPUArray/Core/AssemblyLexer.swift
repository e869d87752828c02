// The tokens of assembly: names, numbers, and signs of one character.

enum AssemblyLexer {
  /// Takes the next token of a text; nil if only blanks are left.
  static func token(_ text: inout Substring) -> String? {
    text = text.drop { $0 == " " || $0 == "\t" }
    guard let first = text.first else { return nil }
    let length = isPartOfName(first) ? text.prefix(while: isPartOfName).count : 1
    defer { text = text.dropFirst(length) }
    return String(text.prefix(length))
  }

  /// All tokens of a text.
  static func tokens(_ text: Substring) -> [String] {
    var rest = text
    var tokens: [String] = []
    while let token = token(&rest) { tokens.append(token) }
    return tokens
  }

  private static func isPartOfName(_ character: Character) -> Bool {
    character.isLetter || character.isNumber || character == "_" || character == "."
  }
}
