// Just enough of a lexer to see code apart from comments and strings, and where functions end.
// It knows Swift and C; a regular expression between bare slashes is the one thing it misreads.

/// A source with every comment and string blanked out, byte for byte, line breaks kept.
struct SourceText {
  private(set) var bytes: [UInt8]

  init(_ text: String, swift: Bool) {
    bytes = Array(text.utf8)
    var lexer = Lexer(bytes: bytes, swift: swift)
    lexer.run()
    bytes = lexer.bytes
  }

  var text: String { String(decoding: bytes, as: UTF8.self) }
}

private struct Lexer {
  var bytes: [UInt8]
  let swift: Bool
  var at = 0

  mutating func run() {
    while at < bytes.count {
      if matches("//") {
        blank { $0.matches("\n") }
      } else if matches("/*") {
        blankComment()
      } else if swift, let hashes = rawStringHashes() {
        blankString(hashes: hashes)
      } else if matches("\"") {
        blankString(hashes: 0)
      } else if swift, matches("#/") {
        blank(through: "/#")
      } else if swift, matches("`") {
        blank(through: "`")
      } else if !swift, matches("'") {
        blankCharacter()
      } else if !swift, matches("#"), startsLine() {
        blankDirective()
      } else {
        at += 1
      }
    }
  }

  func matches(_ word: StaticString, at offset: Int = 0) -> Bool {
    let start = at + offset
    guard start + word.utf8CodeUnitCount <= bytes.count else { return false }
    return (0..<word.utf8CodeUnitCount).allSatisfy { index in
      unsafe bytes[start + index] == word.utf8Start[index]
    }
  }

  private func startsLine() -> Bool {
    var index = at - 1
    while index >= 0, bytes[index] == UInt8(ascii: " ") { index -= 1 }
    return index < 0 || bytes[index] == UInt8(ascii: "\n")
  }

  /// The number of `#` before the quote of a raw string that starts here; nil if none does.
  private func rawStringHashes() -> Int? {
    var index = at
    while index < bytes.count, bytes[index] == UInt8(ascii: "#") { index += 1 }
    guard index > at, index < bytes.count, bytes[index] == UInt8(ascii: "\"") else { return nil }
    return index - at
  }

  private mutating func blankByte() {
    guard at < bytes.count else { return }
    if bytes[at] != UInt8(ascii: "\n") { bytes[at] = UInt8(ascii: " ") }
    at += 1
  }

  private mutating func blank(until end: (Lexer) -> Bool) {
    while at < bytes.count, !end(self) { blankByte() }
  }

  private mutating func blank(through end: StaticString) {
    blankByte()
    blank { $0.matches(end) || $0.matches("\n") }
    for _ in 0..<end.utf8CodeUnitCount where !matches("\n") { blankByte() }
  }

  /// Swift's comments nest, C's do not.
  private mutating func blankComment() {
    var depth = 0
    repeat {
      if matches("/*") && (swift || depth == 0) {
        depth += 1
        blankByte()
      } else if matches("*/") {
        depth -= 1
        blankByte()
      }
      blankByte()
    } while depth > 0 && at < bytes.count
  }

  private mutating func blankCharacter() {
    blankByte()
    while at < bytes.count, !matches("'"), !matches("\n") {
      if matches("\\") { blankByte() }
      blankByte()
    }
    blankByte()
  }

  /// A directive with its continuation lines: its braces need not balance.
  private mutating func blankDirective() {
    while at < bytes.count, !matches("\n") {
      if matches("\\\n") {
        blankByte()
        at += 1
      } else {
        blankByte()
      }
    }
  }

  /// A string of one line or several, raw or not, with what is interpolated.
  private mutating func blankString(hashes: Int) {
    for _ in 0..<hashes { blankByte() }
    let multiline = swift && matches("\"\"\"")
    for _ in 0..<(multiline ? 3 : 1) { blankByte() }
    while at < bytes.count {
      if matches("\\"), escapes(hashes) {
        for _ in 0...hashes { blankByte() }
        if swift, matches("(") { blankInterpolation() } else { blankByte() }
      } else if closes(multiline: multiline, hashes: hashes) {
        for _ in 0..<((multiline ? 3 : 1) + hashes) { blankByte() }
        return
      } else if !multiline, matches("\n") {
        return  // an error of the source, or a misread one: let no more than its line be lost
      } else {
        blankByte()
      }
    }
  }

  private func escapes(_ hashes: Int) -> Bool {
    (0..<hashes).allSatisfy { matches("#", at: 1 + $0) }
  }

  private func closes(multiline: Bool, hashes: Int) -> Bool {
    guard multiline ? matches("\"\"\"") : matches("\"") else { return false }
    return (0..<hashes).allSatisfy { matches("#", at: (multiline ? 3 : 1) + $0) }
  }

  private mutating func blankInterpolation() {
    var depth = 0
    repeat {
      if let hashes = rawStringHashes() {
        blankString(hashes: hashes)
        continue
      }
      if matches("\"") {
        blankString(hashes: 0)
        continue
      }
      if matches("(") { depth += 1 }
      if matches(")") { depth -= 1 }
      blankByte()
    } while depth > 0 && at < bytes.count
  }
}
