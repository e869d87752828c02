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

  /// - Throws: `GrammarError` if the grammar is malformed, or has what is not supported.
  func constraint(for rule: AnswerRule) throws(GrammarError) -> any TokenConstraint {
    let grammar = try CompiledGrammar(GrammarSource(rule.grammar))
    return GrammarConstraint(state: GrammarState(grammar, knownVocabulary()))
  }

  /// Made when it is first needed: most pipelines never need it.
  private func knownVocabulary() -> TokenVocabulary {
    vocabulary.withLock { vocabulary in
      if let vocabulary { return vocabulary }
      let tokens = (0..<Int32(tokenizer.vocabularySize)).map { token in
        tokenizer.isSpecial(token) ? nil : tokenizer.bytes(of: token)
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
      self = .tools(Grammar.ToolCalls(tools, choice: choice, isParallel: calls.isParallel))
    }
  }
}
