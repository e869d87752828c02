// Where functions begin and end, in Swift and in C.

/// A function and the number of lines from its name to its closing brace.
struct FunctionLength: Equatable, Sendable {
  var name: String
  var line: Int
  var lineCount: Int

  /// Returns the functions of a file, nested ones too; closures belong to their function.
  static func measure(_ file: ProjectFile) -> [FunctionLength] {
    var scanner = FunctionScanner(SourceText(file.text, swift: file.isSwift).bytes)
    return file.isSwift ? scanner.swiftFunctions(file.lines) : scanner.cFunctions()
  }
}

private struct FunctionScanner {
  private let bytes: [UInt8]
  private let lineOfByte: [Int]
  /// For each opening brace, where it closes.
  private var closing: [Int: Int] = [:]

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    var line = 1
    var open: [Int] = []
    var lines: [Int] = []
    lines.reserveCapacity(bytes.count)
    for (at, byte) in bytes.enumerated() {
      lines.append(line)
      switch byte {
      case UInt8(ascii: "\n"): line += 1
      case UInt8(ascii: "{"): open.append(at)
      case UInt8(ascii: "}"): if let start = open.popLast() { closing[start] = at }
      default: break
      }
    }
    lineOfByte = lines
  }

  mutating func swiftFunctions(_ lines: [Substring]) -> [FunctionLength] {
    var found: [FunctionLength] = []
    var at = 0
    while let word = nextWord(from: &at) {
      let isDeclaration =
        word.text == "func"
        || ["init", "deinit", "subscript"].contains(word.text)
          && (word.start == 0 || bytes[word.start - 1] != UInt8(ascii: "."))
      guard isDeclaration, let body = swiftBody(from: at), let end = closing[body] else { continue }
      let line = lineOfByte[word.start]
      var name = word.text
      if name == "func" {
        // From the text as written: the name may stand between backticks, which are blanked.
        let rest = lines[line - 1].split(separator: "func ", maxSplits: 1).last ?? ""
        name =
          rest.hasPrefix("`")
          ? String(rest.dropFirst().prefix { $0 != "`" })
          : String(rest.prefix { $0 != "(" && $0 != "<" && $0 != " " })
      }
      found.append(
        FunctionLength(name: name, line: line, lineCount: lineOfByte[end] - line + 1)
      )
    }
    return found
  }

  /// A body at the outermost level that follows a closing parenthesis.
  func cFunctions() -> [FunctionLength] {
    var found: [FunctionLength] = []
    var at = 0
    while at < bytes.count {
      guard bytes[at] == UInt8(ascii: "{"), let end = closing[at] else {
        at += 1
        continue
      }
      if let name = nameBeforeParameters(endingBefore: at) {
        let line = lineOfByte[at]
        found.append(
          FunctionLength(name: name, line: line, lineCount: lineOfByte[end] - line + 1)
        )
      }
      at = end + 1
    }
    return found
  }

  private func nextWord(from at: inout Int) -> (text: String, start: Int)? {
    while at < bytes.count, !isWord(bytes[at]) { at += 1 }
    guard at < bytes.count else { return nil }
    let start = at
    while at < bytes.count, isWord(bytes[at]) { at += 1 }
    return (String(decoding: bytes[start..<at], as: UTF8.self), start)
  }

  private func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
      true
    default: byte >= 0x80
    }
  }

  /// The opening brace of a declaration's body; nil for a requirement, which has none.
  private func swiftBody(from start: Int) -> Int? {
    var depth = 0
    var parametersSeen = false
    var at = start
    while at < bytes.count {
      switch bytes[at] {
      case UInt8(ascii: "("), UInt8(ascii: "["):
        depth += 1
        parametersSeen = true
      case UInt8(ascii: ")"), UInt8(ascii: "]"): depth -= 1
      case UInt8(ascii: "{") where depth == 0: return at
      case UInt8(ascii: "}") where depth <= 0: return nil
      case UInt8(ascii: "\n") where depth == 0 && parametersSeen:
        guard continues(after: at) else { return nil }
      default: break
      }
      if depth < 0 { return nil }  // a word within an expression
      at += 1
    }
    return nil
  }

  /// Whether a declaration goes on in the next line.
  private func continues(after newline: Int) -> Bool {
    var at = newline
    while at < bytes.count, [UInt8(ascii: " "), UInt8(ascii: "\n")].contains(bytes[at]) { at += 1 }
    guard at < bytes.count else { return false }
    if bytes[at] == UInt8(ascii: "{") || bytes[at] == UInt8(ascii: "-") { return true }
    let word = nextWord(from: &at)?.text ?? ""
    return ["where", "throws", "async", "rethrows"].contains(word)
  }

  private func nameBeforeParameters(endingBefore brace: Int) -> String? {
    var at = brace - 1
    while at >= 0, [UInt8(ascii: " "), UInt8(ascii: "\n")].contains(bytes[at]) { at -= 1 }
    guard at >= 0, bytes[at] == UInt8(ascii: ")") else { return nil }
    var depth = 0
    while at >= 0 {
      if bytes[at] == UInt8(ascii: ")") { depth += 1 }
      if bytes[at] == UInt8(ascii: "(") { depth -= 1 }
      at -= 1
      if depth == 0 { break }
    }
    while at >= 0, bytes[at] == UInt8(ascii: " ") { at -= 1 }
    let end = at
    while at >= 0, isWord(bytes[at]) { at -= 1 }
    guard at < end else { return nil }
    return String(decoding: bytes[(at + 1)...end], as: UTF8.self)
  }
}
