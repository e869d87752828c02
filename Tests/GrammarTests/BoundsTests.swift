// Grammars that would take too much: bounded, or refused, in little time.

import Testing

@testable import Grammar

@Suite struct `Bounds` {
  private func nested(_ count: Int) -> String {
    String(repeating: "{\"items\":", count: count) + "{}" + String(repeating: "}", count: count)
  }

  /// The time of a first mask, and of some that follow.
  private func slowestMask(_ grammar: CompiledGrammar, steps: Int = 20) -> Duration {
    var numbers = SeededNumbers(3)
    var state = GrammarState(grammar, Vocabularies.pieces)
    var slowest = Duration.zero
    for _ in 0..<steps {
      let start = ContinuousClock.now
      let mask = state.allowed
      slowest = max(slowest, ContinuousClock.now - start)
      guard let token = tokens(of: mask).filter({ $0 != 256 }).randomElement(using: &numbers) else {
        break
      }
      state.accept(token)
    }
    return slowest
  }

  // Limits of time are far above what it takes, for machines that do something else, too.
  @Test(arguments: [
    #"{"type":"array","minItems":1000000}"#,
    #"{"type":"array","minItems":1000000000000,"maxItems":1e30}"#,
    #"{"type":"string","minLength":1000000,"maxLength":2000000}"#,
    #"{"type":"object","maxProperties":100000}"#,
  ])
  func `huge counts take no time`(_ text: String) throws {
    guard refusal(ofSchema: text)?.code != .limit else { return }
    let grammar = try schema(text)
    #expect(slowestMask(grammar) < .seconds(1))
  }

  @Test func `ten thousand values are a tree`() throws {
    let values = (0..<10_000).map { "\"value number \($0 &* 7919)\"" }.joined(separator: ",")
    let grammar = try schema("{\"enum\":[\(values)]}")
    #expect(slowestMask(grammar) < .seconds(1))
    #expect(accepts(grammar, "\"value number 7919\""))
    #expect(!accepts(grammar, "\"value number 1\""))
  }

  @Test func `many optional properties are bounded`() throws {
    let properties = (0..<400).map { "\"p\($0)\":{\"type\":\"integer\"}" }.joined(separator: ",")
    let grammar = try schema("{\"type\":\"object\",\"properties\":{\(properties)}}")
    #expect(accepts(grammar, "{\"p3\":1,\"p399\":2,\"q\":3}"))
    #expect(slowestMask(grammar) < .seconds(1))
    let more = (0..<1_001).map { "\"p\($0)\":{}" }.joined(separator: ",")
    #expect(refusal(ofSchema: "{\"properties\":{\(more)}}")?.code == .limit)
  }

  @Test func `deep schemas are compiled or refused`() throws {
    #expect(slowestMask(try schema(nested(90))) < .seconds(1))
    #expect(refusal(ofSchema: nested(100))?.code == .limit)
    #expect(refusal(ofSchema: nested(20_000))?.code == .limit)
    #expect(refusal(.gbnf("root ::= " + String(repeating: "(", count: 50_000)))?.code == .limit)
    #expect(refusal(.pattern(String(repeating: "(", count: 50_000)))?.code == .limit)
  }

  @Test func `alternatives multiply to a limit`() {
    let choices = (0..<12).map {
      "{\"anyOf\":[{\"properties\":{\"a\($0)\":{\"const\":1}}},{\"properties\":{\"a\($0)\":{\"const\":2}}}]}"
    }
    let text = "{\"allOf\":[\(choices.joined(separator: ","))]}"
    #expect(refusal(ofSchema: text)?.code == .limit)
  }

  @Test func `answers nest to a limit, and can be ended there`() throws {
    for text in [
      "{}", ##"{"anyOf":[{"type":"null"},{"type":"array","items":{"$ref":"#"},"minItems":1}]}"##,
    ] {
      let grammar = try schema(text)
      var state = GrammarState(grammar, Vocabularies.bytes)
      var depth = 0
      while depth < 10_000, state.accept(bytes: [0x5B]) { depth += 1 }
      #expect((50..<10_000).contains(depth))
      // Up to the bracket that was refused it goes on.
      state = GrammarState(grammar, Vocabularies.bytes)
      for _ in 0..<depth { state.accept(bytes: [0x5B]) }
      // Where an item would nest too deep, none can be.
      var full = state
      let takesItem = full.accept(bytes: Array("null".utf8))
      if takesItem { state = full }
      for _ in 0..<depth { state.accept(bytes: [0x5D]) }
      #expect(state.isComplete)
    }
  }

  @Test(arguments: [
    // The tag comes last: both branches stay possible at each level.
    (##"""
    {"anyOf":[{"type":"object","properties":{"l":{"$ref":"#"},"t":{"const":"a"}},"required":["l","t"]},
              {"type":"object","properties":{"l":{"$ref":"#"},"t":{"const":"b"}},"required":["l","t"]},{"type":"null"}]}
    """## as String)
  ])
  func `ambiguous recursion is a graph, not a tree`(_ text: String) throws {
    let grammar = try schema(text)
    var state = GrammarState(grammar, Vocabularies.pieces)
    for _ in 0..<60 { state.accept(bytes: Array("{\"l\":".utf8)) }
    state.accept(bytes: Array("null".utf8))
    for level in 0..<60 {
      let isAllowed = state.accept(bytes: Array(",\"t\":\"\(level % 2 == 0 ? "a" : "b")\"}".utf8))
      #expect(isAllowed)
    }
    #expect(state.isComplete)
  }

  @Test(arguments: [
    "root ::= ((\"a\"{0,1000}){0,1000}){0,1000}", "root ::= (((\"a\"?)*)*)*",
    "root ::= (\"(\" root \")\" | \"[\" root \"]\" | \"(\" root \"]\")*",
    "root ::= x x x x x x x x\nx ::= [a-z]* | [a-y]* y\ny ::= [b-z]* z\nz ::= [a-z]+",
  ])
  func `ambiguous grammars are bounded`(_ text: String) throws {
    let grammar = try CompiledGrammar(.gbnf(text))
    #expect(slowestMask(grammar, steps: 8) < .seconds(10))
  }
}
