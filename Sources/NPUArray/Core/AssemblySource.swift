// The lines of a source of assembly, with its macros put in.
//
//     .macro load, vector, pointer         // what follows has a name and parameters
//       vlda wl\vector, [p\pointer], #32
//     .end
//       load 2, 1                          // the line above, with `2` and `1` in the places of the parameters
//
// An argument is text: what stands between commas, or in braces. Macros may use macros that stand before them.

struct AssemblySource {
  struct Line {
    /// Counted from 1; within a macro that of the macro's own line.
    var number: Int
    var text: String
  }

  private struct Macro {
    var name: String
    var parameters: [String]
    var line: Int
    var lines: [Line] = []
  }

  private(set) var lines: [Line] = []
  private var macros: [String: Macro] = [:]
  private let name: String

  /// So often macros may be used, so many lines may come of them, and so long a line may be.
  private static let mostLines = 20_000
  private static let mostCharacters = 2_000
  private var uses = 0

  /// - Throws: `NPUError.syntax` with the line at fault.
  init(_ source: String, name: String) throws(NPUError) {
    self.name = name
    var open: Macro?
    let texts = source.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    for (index, line) in texts.enumerated() {
      let text = line.firstRange(of: "//").map { line[..<$0.lowerBound] } ?? line[...]
      let read = Line(number: index + 1, text: String(text))
      let tokens = AssemblyLexer.tokens(text)
      switch tokens.first {
      case ".macro":
        guard open == nil else { throw error("a macro within a macro", read) }
        let names = tokens.dropFirst().filter { $0 != "," }
        guard let first = names.first, Set(names).count == names.count,
          tokens.count == 2 * names.count || names.count == 1
        else {
          throw error("a macro has a name and parameters, with commas between", read)
        }
        open = Macro(name: first, parameters: Array(names.dropFirst()), line: read.number)
      case ".end":
        guard let done = open else { throw error(".end without .macro", read) }
        guard macros.updateValue(done, forKey: done.name) == nil else {
          throw error("macro \(done.name) is there twice", read)
        }
        open = nil
      default:
        if open != nil { open?.lines.append(read) } else { try add(read, depth: 0) }
      }
    }
    if let open {
      throw NPUError(.syntax, "macro \(open.name) has no .end", at: "\(name):\(open.line)")
    }
  }

  private func error(_ what: String, _ line: Line) -> NPUError {
    NPUError(.syntax, what, at: "\(name):\(line.number)")
  }

  /// Adds a line, or the lines of the macro that it names.
  private mutating func add(_ line: Line, depth: Int) throws(NPUError) {
    var rest = line.text[...]
    guard let first = AssemblyLexer.token(&rest), let macro = macros[first] else {
      lines.append(line)
      guard lines.count <= Self.mostLines else {
        throw error("more than \(Self.mostLines) lines", line)
      }
      return
    }
    uses += 1
    guard uses <= Self.mostLines else { throw error("macros are used too often", line) }
    // A macro that uses itself does not end.
    guard depth <= macros.count else { throw error("macro \(first) uses itself", line) }
    let arguments = Self.arguments(rest)
    guard arguments.count == macro.parameters.count else {
      throw error(
        "macro \(first) has \(macro.parameters.count) parameters, not \(arguments.count)",
        line
      )
    }
    let values = Dictionary(zip(macro.parameters, arguments), uniquingKeysWith: { $1 })
    for inner in macro.lines {
      let text = try fill(inner, values)
      try add(Line(number: inner.number, text: text), depth: depth + 1)
    }
  }

  /// Splits at commas that are not in braces.
  private static func arguments(_ text: Substring) -> [String] {
    var arguments = [""]
    var isBraced = false
    for character in text {
      switch character {
      case "{", "}": isBraced = character == "{"
      case "," where !isBraced: arguments.append("")
      default: arguments[arguments.count - 1].append(character)
      }
    }
    let trimmed = arguments.map { argument in
      String(argument.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
    return trimmed == [""] ? [] : trimmed
  }

  /// Puts arguments into the places of parameters, which begin with a backslash.
  private func fill(_ line: Line, _ values: [String: String]) throws(NPUError) -> String {
    var parts = line.text.split(separator: "\\", omittingEmptySubsequences: false)[...]
    var text = String(parts.popFirst() ?? "")
    for part in parts {
      var rest = part
      guard let parameter = AssemblyLexer.token(&rest), let value = values[parameter] else {
        throw error("\\\(part) is no parameter", line)
      }
      text += value + rest
      guard text.utf8.count <= Self.mostCharacters else {
        throw error("a line that is too long", line)
      }
    }
    return text
  }
}
