// How values are written: as JSON, or as Gemma 4 writes what it calls tools with. A schema says what a value is;
// the notation says how its strings and names are told from what stands around them.

/// How values are written.
package enum ValueNotation: Sendable, Hashable {
  /// JSON.
  case json
  /// Gemma 4's own: strings as they are between two marks, names bare, numbers and the rest as in JSON, and no
  /// white space.
  case gemma4
}

extension ValueNotation {
  /// What a string of Gemma 4 stands between: a token of its vocabulary.
  static let mark = "<|\"|>"
  /// Longer strings are counted without the sign that the mark begins with.
  fileprivate static let countedLimit = 512

  /// Whether a name can stand bare in Gemma 4's notation; others stand between marks.
  static func isBare(_ name: String) -> Bool {
    !name.isEmpty && !name.unicodeScalars.contains { ":,{}[]<>|\"".unicodeScalars.contains($0) }
      && !name.contains(where: \.isWhitespace)
  }

  fileprivate static func bareNames(at path: String) throws(GrammarError) -> CharacterMachine {
    try CharacterMachine(pattern: "[^:,{}\\[\\]<>|\"\\s]+", isAnchored: true, at: path)
  }

  /// Texts without the mark.
  fileprivate static func unmarked(at path: String) throws(GrammarError) -> CharacterMachine {
    try CharacterMachine(pattern: "[\\s\\S]*<\\|\"\\|>[\\s\\S]*", isAnchored: true, at: path)
      .complement
  }
}

extension GrammarBuilder {
  /// The bytes of a string.
  ///
  /// - Throws: `GrammarError.unsupported` for one that cannot be written.
  func written(_ text: String) throws(GrammarError) -> [UInt8] {
    guard notation == .gemma4 else { return Self.quoted(text) }
    guard !text.contains(ValueNotation.mark) else {
      throw GrammarError(
        .unsupported,
        "the model cannot write \(ValueNotation.mark) inside of a string"
      )
    }
    return Array((ValueNotation.mark + text + ValueNotation.mark).utf8)
  }

  /// The bytes of a member's name.
  ///
  /// - Throws: `GrammarError.unsupported` for one that cannot be written.
  func writtenName(_ name: String) throws(GrammarError) -> [UInt8] {
    if notation == .gemma4, ValueNotation.isBare(name) { return Array(name.utf8) }
    return try written(name)
  }

  /// A string that a machine accepts.
  mutating func string(
    of machine: CharacterMachine,
    at path: String
  ) throws(GrammarError) -> Int32 {
    guard notation == .gemma4 else { return try between("\"", self.machine(machine, .json)) }
    let texts = try machine.intersection(ValueNotation.unmarked(at: path), at: path)
    return try between(ValueNotation.mark, self.machine(texts, .plain))
  }

  /// A string of so many characters; an escape, and a pair of surrogates, is one.
  mutating func string(min: Int, max: Int?) throws(GrammarError) -> Int32 {
    if notation == .json {
      return try between("\"", repeated(anyStringCharacter(), min: min, max: max))
    }
    guard Swift.max(min, max ?? 0) > ValueNotation.countedLimit else {
      return try string(of: .length(min: min, max: max, at: ""), at: "")
    }
    let others = CodePointSet.all.subtracting(CodePointSet([0x3C...0x3C]))
    return try between(
      ValueNotation.mark,
      repeated(character(others, .plain), min: min, max: max)
    )
  }

  /// A member's name that a machine accepts.
  mutating func name(of machine: CharacterMachine, at path: String) throws(GrammarError) -> Int32 {
    guard notation == .gemma4 else { return try string(of: machine, at: path) }
    return try self.machine(
      machine.intersection(ValueNotation.bareNames(at: path), at: path),
      .plain
    )
  }

  /// Any name of a member.
  mutating func anyName() throws(GrammarError) -> Int32 {
    notation == .gemma4 ? try name(of: .all, at: "") : try anyString()
  }

  private mutating func between(_ mark: String, _ content: Int32) throws(GrammarError) -> Int32 {
    try sequence([literal(mark), content, literal(mark)])
  }
}
