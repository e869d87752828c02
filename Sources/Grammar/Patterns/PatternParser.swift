// Regular expressions as JSON Schema has them: those of ECMA-262, without what is not regular
// (references back) and without assertions but `^` and `$`.

/// A regular expression.
indirect enum Pattern: Hashable {
  case characters(CodePointSet)
  case sequence([Pattern])
  case alternatives([Pattern])
  /// `max` is nil for any number.
  case repeated(Pattern, min: Int, max: Int?)
  /// `^`.
  case atStart
  /// `$`.
  case atEnd
}

/// Parses one regular expression.
struct PatternParser {
  private let scalars: [Unicode.Scalar]
  private let path: String
  private var offset = 0

  /// The largest count of a repetition, because each is written out.
  private static let countLimit = 2_000

  /// `path` is where the pattern stands, for errors.
  /// - Throws: `GrammarError` with the character where it is malformed or holds what is not
  ///   supported.
  static func parse(_ text: String, at path: String) throws(GrammarError) -> Pattern {
    var parser = PatternParser(scalars: Array(text.unicodeScalars), path: path)
    let pattern = try parser.alternatives(depth: 0)
    guard parser.offset == parser.scalars.count else {
      throw parser.fault("a ')' that closes nothing")
    }
    return pattern
  }

  private init(scalars: [Unicode.Scalar], path: String) {
    self.scalars = scalars
    self.path = path
  }

  private var next: Unicode.Scalar? { offset < scalars.count ? scalars[offset] : nil }

  private func fault(_ what: String, _ code: GrammarError.Code = .malformed) -> GrammarError {
    GrammarError(code, "\(what), at character \(offset) of the pattern", at: path)
  }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard next == scalar else { return false }
    offset += 1
    return true
  }

  private mutating func alternatives(depth: Int) throws(GrammarError) -> Pattern {
    guard depth <= GrammarLimits.sourceDepth else { throw fault("groups nested too deep", .limit) }
    var branches = [try sequence(depth: depth)]
    while take("|") { branches.append(try sequence(depth: depth)) }
    return branches.count == 1 ? branches[0] : .alternatives(branches)
  }

  private mutating func sequence(depth: Int) throws(GrammarError) -> Pattern {
    var parts: [Pattern] = []
    while let scalar = next, scalar != "|", scalar != ")" {
      let atom = try atom(depth: depth)
      parts.append(try quantified(atom))
    }
    return parts.count == 1 ? parts[0] : .sequence(parts)
  }

  private mutating func quantified(_ atom: Pattern) throws(GrammarError) -> Pattern {
    guard let (min, max) = try quantifier() else { return atom }
    if case .atStart = atom { throw fault("a repeated '^'") }
    if case .atEnd = atom { throw fault("a repeated '$'") }
    // The shortest match or the longest: the texts that match are the same.
    _ = take("?")
    if let max, max < min { throw fault("a repetition from \(min) to \(max)") }
    guard min <= Self.countLimit, max ?? 0 <= Self.countLimit else {
      throw fault("a repetition of more than \(Self.countLimit)", .limit)
    }
    if let scalar = next, "*+?".unicodeScalars.contains(scalar) {
      throw fault("a repeated repetition")
    }
    return .repeated(atom, min: min, max: max)
  }

  private mutating func quantifier() throws(GrammarError) -> (min: Int, max: Int?)? {
    if take("*") { return (0, nil) }
    if take("+") { return (1, nil) }
    if take("?") { return (0, 1) }
    guard next == "{" else { return nil }
    let start = offset
    offset += 1
    guard let min = number() else {
      // ECMA-262, annex B: a brace that begins no count is a character.
      offset = start
      return nil
    }
    var max: Int? = min
    if take(",") { max = number() }
    guard take("}") else {
      offset = start
      return nil
    }
    return (min, max)
  }

  private mutating func number() -> Int? {
    var value: Int?
    while let scalar = next, ("0"..."9").contains(scalar) {
      value = min((value ?? 0) * 10 + Int(scalar.value - 0x30), 1 << 40)
      offset += 1
    }
    return value
  }

  private mutating func atom(depth: Int) throws(GrammarError) -> Pattern {
    let start = offset
    guard let scalar = next else { throw fault("the end where a character is expected") }
    offset += 1
    switch scalar {
    case "^": return .atStart
    case "$": return .atEnd
    case ".": return .characters(CharacterClasses.lineEnds.inverted)
    case "(": return try group(depth: depth)
    case "[": return .characters(try characterClass())
    case "\\": return .characters(try escape(inClass: false))
    case "*", "+", "?":
      offset = start
      throw fault("a repetition of nothing")
    default: return .characters(CodePointSet(scalar))
    }
  }

  private mutating func group(depth: Int) throws(GrammarError) -> Pattern {
    if take("?") {
      if take("<") {
        guard next != "=", next != "!" else { throw fault("a look behind", .unsupported) }
        while let scalar = next, scalar != ">" {
          guard scalar.properties.isAlphabetic || scalar == "_" || ("0"..."9").contains(scalar)
          else {
            throw fault("a bad name of a group")
          }
          offset += 1
        }
        guard take(">") else { throw fault("a name of a group that does not end") }
      } else if !take(":") {
        throw fault("a look ahead, or a group of an unknown kind", .unsupported)
      }
    }
    let inner = try alternatives(depth: depth + 1)
    guard take(")") else { throw fault("a group that does not end") }
    return inner
  }

  private mutating func characterClass() throws(GrammarError) -> CodePointSet {
    let isInverted = take("^")
    var ranges: [ClosedRange<UInt32>] = []
    while let scalar = next, scalar != "]" {
      let low = try classMember()
      guard next == "-", offset + 1 < scalars.count, scalars[offset + 1] != "]" else {
        ranges += low.ranges
        continue
      }
      offset += 1
      let high = try classMember()
      guard let first = low.single, let last = high.single else {
        // ECMA-262, annex B: a class of characters beside a '-' is no range.
        ranges += low.ranges + high.ranges + [0x2D...0x2D]
        continue
      }
      guard first <= last else { throw fault("a range that runs backwards") }
      ranges.append(first...last)
    }
    guard take("]") else { throw fault("a class that does not end") }
    let set = CodePointSet(ranges)
    return isInverted ? set.inverted : set
  }

  private mutating func classMember() throws(GrammarError) -> CodePointSet {
    guard let scalar = next else { throw fault("a class that does not end") }
    offset += 1
    return scalar == "\\" ? try escape(inClass: true) : CodePointSet(scalar)
  }

  private mutating func escape(inClass: Bool) throws(GrammarError) -> CodePointSet {
    guard let scalar = next else { throw fault("a backslash at the end") }
    offset += 1
    switch scalar {
    case "d": return CharacterClasses.digits
    case "D": return CharacterClasses.digits.inverted
    case "w": return CharacterClasses.word
    case "W": return CharacterClasses.word.inverted
    case "s": return CharacterClasses.space
    case "S": return CharacterClasses.space.inverted
    case "t": return CodePointSet("\t")
    case "n": return CodePointSet("\n")
    case "r": return CodePointSet("\r")
    case "v": return CodePointSet("\u{0B}")
    case "f": return CodePointSet("\u{0C}")
    case "b" where inClass: return CodePointSet("\u{08}")
    case "0" where next.map { !("0"..."9").contains($0) } ?? true: return CodePointSet("\0")
    case "x": return try code(digits: 2)
    case "u": return try unicodeEscape()
    case "p", "P": return try property(isInverted: scalar == "P")
    case "a"..."z", "A"..."Z", "0"..."9":
      offset -= 1
      throw fault("\\\(scalar)", .unsupported)
    default: return CodePointSet(scalar)
    }
  }

  private mutating func unicodeEscape() throws(GrammarError) -> CodePointSet {
    guard take("{") else {
      let first = try hexadecimal(digits: 4)
      // A pair of surrogates is one character.
      if (0xD800..<0xDC00).contains(first), take("\\"), take("u") {
        let low = try hexadecimal(digits: 4)
        guard (0xDC00..<0xE000).contains(low) else { throw fault("half a surrogate pair") }
        return try single(0x10000 + (first - 0xD800) << 10 + (low - 0xDC00))
      }
      return try single(first)
    }
    var value: UInt32 = 0
    while let scalar = next, scalar != "}" {
      guard let digit = scalar.hexadecimalValue, value < 1 << 24 else {
        throw fault("a bad character code")
      }
      value = value << 4 | digit
      offset += 1
    }
    guard take("}") else { throw fault("a character code that does not end") }
    return try single(value)
  }

  private mutating func code(digits: Int) throws(GrammarError) -> CodePointSet {
    try single(hexadecimal(digits: digits))
  }

  private mutating func hexadecimal(digits: Int) throws(GrammarError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<digits {
      guard let digit = next?.hexadecimalValue else {
        throw fault("no \(digits) hexadecimal digits")
      }
      value = value << 4 | digit
      offset += 1
    }
    return value
  }

  private func single(_ value: UInt32) throws(GrammarError) -> CodePointSet {
    guard let scalar = Unicode.Scalar(value) else {
      throw fault("no character has the code \(value)")
    }
    return CodePointSet(scalar)
  }

  private mutating func property(isInverted: Bool) throws(GrammarError) -> CodePointSet {
    guard take("{") else { throw fault("\\p without a name", .unsupported) }
    var name = ""
    while let scalar = next, scalar != "}" {
      name.unicodeScalars.append(scalar)
      offset += 1
    }
    guard take("}"), let set = CharacterClasses.category(name) else {
      throw fault("\\p{\(name)}", .unsupported)
    }
    return isInverted ? set.inverted : set
  }
}

extension CodePointSet {
  /// Its only member; nil if it has none or several.
  var single: UInt32? {
    guard ranges.count == 1, ranges[0].count == 1 else { return nil }
    return ranges[0].lowerBound
  }
}

extension Unicode.Scalar {
  /// Its value as a hexadecimal digit.
  var hexadecimalValue: UInt32? {
    switch self {
    case "0"..."9": value - 0x30
    case "a"..."f": value - 0x61 + 10
    case "A"..."F": value - 0x41 + 10
    default: nil
    }
  }
}
