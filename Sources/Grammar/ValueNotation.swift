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

/// The tokens of Gemma 4 that mark calls and strings.
///
/// A grammar knows each by a byte that no text has. So only the token is a mark, not the same text in other tokens.
package enum CallMark: UInt8, CaseIterable, Sendable {
  case callStart = 0xF8
  case callEnd = 0xF9
  /// On both sides of a string.
  case string = 0xFA

  /// The token's text.
  package var text: String {
    switch self {
    case .callStart: "<|tool_call>"
    case .callEnd: "<tool_call|>"
    case .string: "<|\"|>"
    }
  }

  var bytes: [UInt8] { [rawValue] }
}

extension ValueNotation {
  /// Longer strings are counted without the sign that the text of a mark begins with.
  fileprivate static let countedLimit = 512

  /// Whether a name can stand bare in Gemma 4's notation; others stand between marks.
  static func isBare(_ name: String) -> Bool {
    !name.isEmpty && !name.unicodeScalars.contains { ":,{}[]<>|\"".unicodeScalars.contains($0) }
      && !name.contains(where: \.isWhitespace)
  }

  fileprivate static func bareNames(at path: String) throws(GrammarError) -> CharacterMachine {
    try CharacterMachine(pattern: "[^:,{}\\[\\]<>|\"\\s]+", isAnchored: true, at: path)
  }

  /// Texts without that of the mark: a reader of the answer does not know tokens.
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
    guard !text.contains(CallMark.string.text) else {
      throw GrammarError(
        .unsupported,
        "the model cannot write \(CallMark.string.text) inside of a string"
      )
    }
    return CallMark.string.bytes + text.utf8 + CallMark.string.bytes
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
    guard notation == .gemma4 else { return try between([0x22], self.machine(machine, .json)) }
    let texts = try machine.intersection(ValueNotation.unmarked(at: path), at: path)
    return try between(CallMark.string.bytes, self.machine(texts, .plain))
  }

  /// A string of so many characters; an escape, and a pair of surrogates, is one.
  mutating func string(min: Int, max: Int?) throws(GrammarError) -> Int32 {
    if notation == .json {
      return try between([0x22], repeated(anyStringCharacter(), min: min, max: max))
    }
    guard Swift.max(min, max ?? 0) > ValueNotation.countedLimit else {
      return try string(of: .length(min: min, max: max, at: ""), at: "")
    }
    let others = CodePointSet.all.subtracting(CodePointSet([0x3C...0x3C]))
    return try between(
      CallMark.string.bytes,
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

  private mutating func between(_ mark: [UInt8], _ content: Int32) throws(GrammarError) -> Int32 {
    try sequence([literal(mark), content, literal(mark)])
  }
}
