// Random answers are complete and can be read; mutated sources do no harm.

import Testing

@testable import Grammar

@Suite struct `Random sources and answers` {
  private static let schemas = [
    ##"{"type":"object","properties":{"a":{"type":["integer","null"],"minimum":3},"b":{"enum":["x","é"]}},"required":["a"]}"##,
    ##"{"$ref":"#/$defs/n","$defs":{"n":{"anyOf":[{"type":"string","pattern":"^a.{2}$"},{"type":"array","items":{"$ref":"#/$defs/n"}}]}}}"##,
    ##"{"oneOf":[{"type":"string","format":"date"},{"type":"number","multipleOf":0.5,"maximum":9}]}"##,
    ##"{"type":"object","patternProperties":{"^x":{"type":"string","minLength":1,"maxLength":9}},"minProperties":1,"maxProperties":3}"##,
    ##"{"allOf":[{"properties":{"q":{"const":[1,{"r":null}]}},"additionalProperties":false},{"required":["q"]}],"type":"object"}"##,
    ##"{"type":"array","prefixItems":[{"type":"boolean"}],"items":{"type":"integer"},"minItems":2,"maxItems":4}"##,
    ##"{}"##,
  ]
  private static let grammars = [
    "root ::= \"a\" b* | c\nb ::= [x-z]{2,3}\nc ::= (\"q\" | \"r\" | [^a-f\\n])+ # end\n",
    "root ::= \"{\" ws (p (\",\" p)*)? \"}\"\np ::= \"\\\"\" [a-z]+ \"\\\":\" root\nws ::= \" \"?\n",
  ]

  /// Changes some bytes of a text.
  private func mutated(_ text: String, _ numbers: inout SeededNumbers) -> String {
    var bytes = Array(text.utf8)
    let pieces = [
      "{", "}", "[", "]", "\"", ":", ",", "\\", "(", ")", "*", "{9,}", "-1", "1e9",
      "\"$ref\":\"#\"", "|", "::=", "é", "^", "\u{0}",
    ]
    for _ in 0..<Int.random(in: 1...4, using: &numbers) {
      let place = Int.random(in: 0...bytes.count, using: &numbers)
      switch Int.random(in: 0..<4, using: &numbers) {
      case 0 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &numbers)
      case 1 where place < bytes.count: bytes.remove(at: place)
      case 2:
        let end = min(bytes.count, place + Int.random(in: 0...30, using: &numbers))
        let copy = bytes[place..<end]
        bytes.insert(contentsOf: copy, at: Int.random(in: 0...bytes.count, using: &numbers))
      default:
        bytes.insert(contentsOf: (pieces.randomElement(using: &numbers) ?? "").utf8, at: place)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test(arguments: 0..<8)
  func `broken sources end in an error or a grammar`(_ seed: Int) {
    var numbers = SeededNumbers(UInt64(seed))
    for _ in 0..<250 {
      let text = Self.schemas.randomElement(using: &numbers) ?? ""
      let start = ContinuousClock.now
      finish(.jsonSchema(mutated(text, &numbers), strict: Bool.random(using: &numbers)), &numbers)
      let gbnf = Self.grammars.randomElement(using: &numbers) ?? ""
      finish(.gbnf(mutated(gbnf, &numbers)), &numbers)
      finish(.pattern(mutated("^a(b|[^c-e]{2,3})*\\d+?(?:x|y)$", &numbers)), &numbers)
      #expect(ContinuousClock.now - start < .seconds(20))
    }
  }

  /// Compiles a source, and takes a few steps if that works.
  private func finish(_ source: GrammarSource, _ numbers: inout SeededNumbers) {
    guard let grammar = try? CompiledGrammar(source) else { return }
    var state = GrammarState(grammar, Vocabularies.pieces)
    for _ in 0..<4 {
      let allowed = tokens(of: state.allowed)
      #expect(!allowed.isEmpty)
      guard let token = allowed.filter({ $0 != 256 }).randomElement(using: &numbers) else { return }
      state.accept(token)
    }
  }

  @Test(arguments: schemas.indices)
  func `random answers come to an end and parse`(_ index: Int) throws {
    let grammar = try schema(Self.schemas[index])
    var numbers = SeededNumbers(UInt64(100 + index))
    for _ in 0..<40 {
      var state = GrammarState(grammar, Vocabularies.pieces)
      var bytes: [UInt8] = []
      for step in 0... {
        let allowed = tokens(of: state.allowed)
        try #require(!allowed.isEmpty, "stuck at \(String(decoding: bytes, as: UTF8.self))")
        if allowed.contains(256), step > 30 || allowed == [256] { break }
        let closing: [Int32] = [0x22, 0x7D, 0x5D].filter { allowed.contains($0) }
        let others =
          step > 60 && !closing.isEmpty && step % 5 > 0 ? closing : allowed.filter { $0 != 256 }
        guard let token = others.randomElement(using: &numbers) else { break }
        state.accept(token)
        bytes += Vocabularies.pieces.storage.texts[Int(token)]
        try #require(step < 5_000, "does not end: \(String(decoding: bytes, as: UTF8.self))")
      }
      let text = try #require(String(validating: bytes, as: UTF8.self))
      // Names that are not declared may come twice, which is JSON, but not for this parser.
      do { _ = try JSONParser.parse(text) } catch {
        #expect(error.message.contains("a second member"))
      }
      #expect(accepts(grammar, text))
    }
  }
}
