// Grammars of answers: from what a request says to a constraint of its session. Compiling takes milliseconds, and
// a vocabulary half a second once, so it is done on the desk's thread; a mask takes microseconds.

internal import Gemma
internal import Grammar
internal import Platform
internal import Wire

/// Makes constraints for one model's tokens.
final class GrammarMaker: Sendable {
  private let tokenizer: Tokenizer
  private let endTokens: [Int32]
  private let vocabulary = Lock<TokenVocabulary?>(nil)

  init(_ tokenizer: Tokenizer, endTokens: [Int32]) {
    self.tokenizer = tokenizer
    self.endTokens = endTokens
  }

  /// Returns the constraint of the answer to a prompt.
  ///
  /// - Throws: `GrammarError` if the grammar is malformed, or has what is not supported.
  func constraint(
    for rule: AnswerRule,
    after prompt: [Int32]
  ) throws(GrammarError) -> any TokenConstraint {
    let grammar = try CompiledGrammar(GrammarSource(rule.grammar))
    let answer = GrammarConstraint(state: GrammarState(grammar, knownVocabulary()))
    guard let marks = tokenizer.channelMarks else { return answer }
    let beginning = marks.beginning(after: prompt)
    guard beginning != .text else { return answer }
    return ThoughtfulConstraint(
      answer: answer,
      marks: marks,
      thoughtMask: thoughtMask(marks),
      isThinking: beginning == .thought
    )
  }

  /// Allows what a thought may consist of: all but what ends the turn or begins another thought.
  private func thoughtMask(_ marks: Tokenizer.ChannelMarks) -> [UInt8] {
    var bits = [UInt8](repeating: 0, count: (tokenizer.vocabularySize + 7) / 8)
    let forbidden = Set(endTokens + [marks.start])
    for token in 0..<Int32(tokenizer.vocabularySize) where !forbidden.contains(token) {
      bits[Int(token) / 8] |= 1 << (token % 8)
    }
    return bits
  }

  /// The bytes of a token, unless they are none of UTF-8: some of these are marks in a grammar.
  private static func text(_ bytes: [UInt8]?) -> [UInt8]? {
    bytes.flatMap { bytes in bytes.contains { $0 >= 0xF8 } ? nil : bytes }
  }

  /// Made when it is first needed: most pipelines never need it.
  private func knownVocabulary() -> TokenVocabulary {
    vocabulary.withLock { vocabulary in
      if let vocabulary { return vocabulary }
      var marks: [Int32: [UInt8]] = [:]
      for mark in CallMark.allCases {
        if let token = tokenizer.token(named: mark.text) { marks[token] = [mark.rawValue] }
      }
      let tokens = (0..<Int32(tokenizer.vocabularySize)).map { token in
        tokenizer.isSpecial(token) ? nil : marks[token] ?? Self.text(tokenizer.bytes(of: token))
      }
      let new = TokenVocabulary(tokens: tokens, endTokens: endTokens)
      vocabulary = new
      return new
    }
  }
}

/// An answer that follows a grammar.
struct GrammarConstraint: TokenConstraint {
  fileprivate var state: GrammarState

  var allowed: TokenMask? { TokenMask(allowed: .bits(state.allowed)) }

  mutating func accept(_ token: Int32) { state.accept(token) }
}

/// An answer that follows a grammar behind what the model thinks, which follows none.
///
/// The thought is no part of the answer, and the grammar begins where it ends.
struct ThoughtfulConstraint: TokenConstraint {
  fileprivate var answer: GrammarConstraint
  fileprivate let marks: Tokenizer.ChannelMarks
  fileprivate let thoughtMask: [UInt8]
  fileprivate var isThinking: Bool
  /// Whether a thought may still begin.
  private var mayThink: Bool

  fileprivate init(
    answer: GrammarConstraint,
    marks: Tokenizer.ChannelMarks,
    thoughtMask: [UInt8],
    isThinking: Bool
  ) {
    self.answer = answer
    self.marks = marks
    self.thoughtMask = thoughtMask
    self.isThinking = isThinking
    mayThink = !isThinking
  }

  var allowed: TokenMask? {
    if isThinking { return TokenMask(allowed: .bits(thoughtMask)) }
    var bits = answer.state.allowed
    if mayThink { bits[Int(marks.start) / 8] |= 1 << (marks.start % 8) }
    return TokenMask(allowed: .bits(bits))
  }

  mutating func accept(_ token: Int32) {
    defer { mayThink = false }
    if isThinking {
      isThinking = token != marks.end
    } else if mayThink, token == marks.start {
      isThinking = true
    } else {
      answer.accept(token)
    }
  }
}

extension GrammarSource {
  fileprivate init(_ grammar: AnswerGrammar) {
    switch grammar {
    case .schema(let text): self = .jsonSchema(text, strict: false)
    case .strictSchema(let text): self = .jsonSchema(text, strict: true)
    case .object: self = .jsonObject
    case .gbnf(let text): self = .gbnf(text)
    case .calls(let calls):
      let tools = calls.tools.map { tool in
        Grammar.ToolCalls.Tool(
          name: tool.name,
          parameters: tool.parameters.isEmpty ? nil : tool.parameters,
          isStrict: tool.isStrict
        )
      }
      let choice: Grammar.ToolCalls.Choice =
        !calls.only.isEmpty ? .named(calls.only) : calls.isRequired ? .required : .auto
      let words = Grammar.ToolCalls.Words(schema: calls.words, isStrict: calls.wordsAreStrict)
      self = .tools(
        Grammar.ToolCalls(
          tools,
          choice: choice,
          isParallel: calls.isParallel,
          words: calls.words.isEmpty ? nil : words,
          notation: calls.notation == .gemma4 ? .gemma4 : .json
        )
      )
    }
  }
}
