// States: masks, ends of turns, copies, tokens that split characters.

import Testing

@testable import Grammar

@Suite struct `Grammar state` {
  /// Which tokens may come, by trying each.
  private func tried(_ state: GrammarState, _ vocabulary: TokenVocabulary) -> [Int32] {
    (0..<Int32(vocabulary.count)).filter { token in
      if vocabulary.storage.endTokens.contains(token) { return state.isComplete }
      var next = state
      return next.accept(token)
    }
  }

  static let sources: [GrammarSource] = [
    .json, .jsonObject, .choices(["yes", "no", "not", "é€"]), .pattern("[a-z ]*(é|😀)?[0-9]{1,3}"),
    .jsonSchema(#"{"type":"string"}"#, strict: false),
    .jsonSchema(#"{"type":"string","maxLength":4}"#, strict: false),
    .jsonSchema(#"{"type":"string","minLength":2,"maxLength":7}"#, strict: false),
    .jsonSchema(#"{"type":"string","pattern":"^[^<>]*$"}"#, strict: false),
    .jsonSchema(#"{"type":"string","pattern":"ab"}"#, strict: false),
    .jsonSchema(
      #"{"type":"object","properties":{"name":{"type":"string"},"ab":{"enum":["hello","é"]}}}"#,
      strict: false
    ),
    .gbnf("root ::= [^a]+ | \"ab\" root"),
    .tools(ToolCalls([ToolCalls.Tool(name: "ab", parameters: "{}")], choice: .auto)),
  ]

  @Test(arguments: sources.indices)
  func `a mask has the tokens that are accepted`(_ index: Int) throws {
    let grammar = try CompiledGrammar(Self.sources[index])
    let vocabulary = Vocabularies.pieces
    var numbers = SeededNumbers(UInt64(index))
    for _ in 0..<12 {
      var state = GrammarState(grammar, vocabulary)
      for _ in 0..<25 {
        let allowed = tokens(of: state.allowed)
        #expect(allowed == tried(state, vocabulary))
        // Longer tokens first, as they are few.
        let others = allowed.filter { $0 != 256 }
        let long = others.filter { $0 > 256 }
        guard let token = (long.isEmpty ? others : long).randomElement(using: &numbers) else {
          break
        }
        let isAllowedtoken = state.accept(token)
        #expect(isAllowedtoken)
      }
    }
  }

  @Test func `characters may be split over tokens, and are whole at the end`() throws {
    let grammar = try schema(#"{"type":"string"}"#)
    var state = GrammarState(grammar, Vocabularies.bytes)
    state.accept(bytes: [0x22, 0xE2, 0x82])
    // The third byte of three.
    #expect(tokens(of: state.allowed) == Array(0x80...0xBF))
    #expect(!state.isComplete)
    let isAllowed0xAC = state.accept(0xAC)
    #expect(isAllowed0xAC)
    #expect(tokens(of: state.allowed).contains(0x22))
    let isAllowed0xF0 = state.accept(0xF0)
    #expect(isAllowed0xF0)
    #expect(tokens(of: state.allowed) == Array(0x90...0xBF))
    var half = GrammarState(grammar, Vocabularies.bytes)
    let isHalf = half.accept(bytes: [0x22, 0xC3, 0x22])
    #expect(!isHalf)
  }

  @Test func `the turn ends where the answer is complete`() throws {
    let grammar = try CompiledGrammar(.choices(["no", "not"]))
    var state = GrammarState(grammar, Vocabularies.bytes)
    #expect(tokens(of: state.allowed) == [0x6E])
    state.accept(bytes: Array("no".utf8))
    #expect(state.isComplete)
    #expect(tokens(of: state.allowed) == [0x74, 256])
    state.accept(0x74)
    // Alone where nothing else may come.
    #expect(tokens(of: state.allowed) == [256])
    state.accept(0x74)
    #expect(!state.isComplete)
    #expect(tokens(of: state.allowed).isEmpty)
  }

  @Test func `special tokens never come`() throws {
    let vocabulary = TokenVocabulary(
      tokens: [nil, [], [0x61], [0x61], [0x62], [0x61]],
      endTokens: [4]
    )
    let grammar = try CompiledGrammar(.choices(["a", "aa"]))
    var state = GrammarState(grammar, vocabulary)
    // Tokens of equal bytes are equals.
    #expect(tokens(of: state.allowed) == [2, 3, 5])
    state.accept(3)
    #expect(tokens(of: state.allowed) == [2, 3, 4, 5])
    let isAllowed0 = state.accept(0)
    #expect(!isAllowed0)
    #expect(vocabulary.unspelledBytes.count == 255)
  }

  @Test func `a copy goes its own way`() throws {
    let grammar = try CompiledGrammar(.choices(["ab", "ac"]))
    var state = GrammarState(grammar, Vocabularies.bytes)
    state.accept(0x61)
    var copy = state
    copy.accept(0x62)
    #expect(tokens(of: copy.allowed) == [256])
    #expect(tokens(of: state.allowed) == [0x62, 0x63])
  }

  @Test func `masks follow from the tokens, whatever the automaton has forgotten`() throws {
    // So small that it is replaced at nearly each call.
    var builder = GrammarBuilder()
    let start = try builder.anyValue()
    let table = try builder.finish(start: start)
    let large = AutomatonStore(table, byteLimit: 64 << 20)
    let small = AutomatonStore(table, byteLimit: 1 << 12)
    var numbers = SeededNumbers(7)
    var a = AutomatonStore.Place()
    var b = AutomatonStore.Place()
    for _ in 0..<300 {
      let mask = large.with(&a) { $0.mask($1, Vocabularies.pieces.storage) }
      #expect(mask == small.with(&b) { $0.mask($1, Vocabularies.pieces.storage) })
      guard let token = tokens(of: mask).filter({ $0 != 256 }).randomElement(using: &numbers) else {
        break
      }
      let bytes = Vocabularies.pieces.storage.texts[Int(token)]
      large.with(&a) { automaton, stack in for byte in bytes { stack = automaton.next(stack, byte) }
      }
      small.with(&b) { automaton, stack in for byte in bytes { stack = automaton.next(stack, byte) }
      }
    }
  }

  @Test func `states of one grammar can be used at once`() async throws {
    let grammar = try CompiledGrammar(.json)
    let first = GrammarState(grammar, Vocabularies.pieces)
    await withTaskGroup(of: [[UInt8]].self) { group in
      for _ in 0..<4 {
        group.addTask {
          var state = first
          var masks: [[UInt8]] = []
          for byte in "{\"a\": [1, {\"b\":\"é\"}]}".utf8 {
            masks.append(state.allowed)
            state.accept(Int32(byte))
          }
          return masks
        }
      }
      var all: Set<[[UInt8]]> = []
      for await masks in group { all.insert(masks) }
      #expect(all.count == 1)
    }
  }
}
