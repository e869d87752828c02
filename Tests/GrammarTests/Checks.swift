// What tests ask of a grammar, and a small vocabulary.

import Testing

@testable import Grammar

/// Whether a grammar accepts a text as a whole.
func accepts(_ grammar: CompiledGrammar, _ text: String) -> Bool {
  accepts(grammar, Array(text.utf8))
}

func accepts(_ grammar: CompiledGrammar, _ bytes: [UInt8]) -> Bool {
  var state = GrammarState(grammar, Vocabularies.bytes)
  return state.accept(bytes: bytes) && state.isComplete
}

/// A text in which the marks of Gemma 4 are tokens.
func marked(_ text: String) -> [UInt8] {
  var rest = text[...]
  var bytes: [UInt8] = []
  while let first = rest.first {
    if let mark = CallMark.allCases.first(where: { rest.hasPrefix($0.text) }) {
      bytes.append(mark.rawValue)
      rest = rest.dropFirst(mark.text.count)
    } else {
      bytes += String(first).utf8
      rest.removeFirst()
    }
  }
  return bytes
}

func schema(_ text: String, strict: Bool = false) throws -> CompiledGrammar {
  try CompiledGrammar(.jsonSchema(text, strict: strict))
}

/// Checks what a schema accepts and what it does not.
func check(
  _ text: String,
  strict: Bool = false,
  valid: [String],
  invalid: [String],
  _ location: SourceLocation = #_sourceLocation
) throws {
  let grammar = try schema(text, strict: strict)
  for value in valid {
    #expect(accepts(grammar, value), "\(text) refuses \(value)", sourceLocation: location)
  }
  for value in invalid {
    #expect(!accepts(grammar, value), "\(text) accepts \(value)", sourceLocation: location)
  }
}

/// The error of a source that is not compiled.
func refusal(_ source: GrammarSource) -> GrammarError? {
  do throws(GrammarError) {
    _ = try CompiledGrammar(source)
    return nil
  } catch {
    return error
  }
}

func refusal(ofSchema text: String, strict: Bool = false) -> GrammarError? {
  refusal(.jsonSchema(text, strict: strict))
}

enum Vocabularies {
  /// 256 tokens of a byte each, and 256 to end the turn.
  static let bytes = TokenVocabulary(
    tokens: (0...255).map { [UInt8($0)] } + [nil],
    endTokens: [256]
  )

  /// As `bytes`, and words, pieces of JSON and pieces of characters behind it.
  static let pieces = TokenVocabulary(
    tokens: (0...255).map { [UInt8($0)] } + [nil]
      + texts.map { Array($0.utf8) } + [[0xC3], [0xE2, 0x82], [0xAC, 0x22], [0xF0, 0x9F]],
    endTokens: [256]
  )
  static let texts = [
    "hello", " world", "{\"", "\":", "\": ", "\",", "\"}", "\", \"", "true", "null", "12", "345",
    "\\\"", "\\u00", "é", "😀", "€\"", "a\"b", "}}", "],", "name", "\n", "```", "json", "\"", "ab",
  ]
}

/// The tokens of a mask.
func tokens(of mask: [UInt8]) -> [Int32] {
  (0..<Int32(mask.count * 8)).filter { mask[Int($0) / 8] & (1 << UInt8($0 % 8)) != 0 }
}

/// Numbers by a seed (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
struct SeededNumbers: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}
