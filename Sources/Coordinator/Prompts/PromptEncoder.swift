// From what a client sends to the tokens of a prompt: the chat template, the tokenizer, and what can be
// said of a text's length before it is tokenized.

internal import Gemma
internal import Grammar
internal import ModelFiles
internal import Wire

/// A prompt's tokens, and what the answer must conform to; nil if anything is good.
package struct EncodedPrompt: Sendable {
  var tokens: [Int32]
  var constraint: (any TokenConstraint)?
}

/// Why a request has no prompt, or its answer no constraint.
package struct PromptError: Error, Sendable {
  var code: RequestFailureCode
  var message: String

  init(_ code: RequestFailureCode, _ message: String) {
    self.code = code
    self.message = message
  }
}

/// Turns texts and conversations into tokens.
struct PromptEncoder: Sendable {
  /// Prompts up to this cost are encoded where they are received: it takes no longer than a step's
  /// messages.
  ///
  /// A tokenizer does a few megabytes a second, so this is a millisecond or two.
  static let mostCostAtOnce = 4 << 10

  let modelName: String
  let tokenizer: Tokenizer?
  let template: Result<ChatTemplate, GemmaError>
  private let grammars: GrammarMaker?

  init(_ model: ServedModel) {
    grammars = model.tokenizer.map { GrammarMaker($0, endTokens: model.config.eosTokens) }
    modelName = model.name
    tokenizer = model.tokenizer
    template = model.template
  }

  /// Returns the prompt that a text or a conversation stands for.
  ///
  /// - Throws: `GemmaError` if the model has no tokenizer, or no chat template that is wanted, or if the
  ///   template refuses the conversation.
  /// - Complexity: O(n log m) for n bytes with words of m.
  func encode(_ source: PromptSource) throws(GemmaError) -> [Int32] {
    switch source {
    case .tokens(let tokens): return tokens
    case .text(let text, let parsesSpecial):
      return try knownTokenizer().encode(text, addBOS: true, parseSpecial: parsesSpecial)
    case .conversation(let messages, let thinks):
      let tokenizer = try knownTokenizer()
      guard tokenizer.canThink || !thinks else {
        throw GemmaError(
          .template,
          "\(modelName) cannot think before it answers: its vocabulary has no tokens for thoughts; ask "
            + "without them (without --think)"
        )
      }
      let template = try usableTemplate()
      guard template.asksForThoughts || !thinks else {
        throw GemmaError(
          .template,
          "the chat template of \(modelName) has no way to ask for thoughts; ask without them (without --think)"
        )
      }
      return try tokenizer.encode(template.pieces(messages, thinks: thinks))
    }
  }

  private func usableTemplate() throws(GemmaError) -> ChatTemplate {
    do throws(GemmaError) {
      return try template.get()
    } catch {
      throw GemmaError(
        error.code,
        "\(error.message); use --raw to send the prompt without one",
        context: error.context
      )
    }
  }

  private func knownTokenizer() throws(GemmaError) -> Tokenizer {
    guard let tokenizer else {
      throw GemmaError(.tokenizer, "\(modelName) has no tokenizer; send the prompt as tokens")
    }
    return tokenizer
  }

  /// Returns a prompt, and what its answer must conform to.
  ///
  /// - Throws: `PromptError`; with code `constraint`, and the place in the grammar, if that cannot be followed.
  func encode(_ source: PromptSource, _ rule: AnswerRule?) throws(PromptError) -> EncodedPrompt {
    let tokens: [Int32]
    do throws(GemmaError) {
      tokens = try encode(source)
    } catch {
      throw PromptError(error.code == .template ? .template : .invalid, error.message)
    }
    guard let rule else { return EncodedPrompt(tokens: tokens) }
    guard let grammars else {
      throw PromptError(
        .constraint,
        "\(modelName) has no tokenizer, so answers cannot follow a grammar"
      )
    }
    do throws(GrammarError) {
      return EncodedPrompt(
        tokens: tokens,
        constraint: try grammars.constraint(for: rule, after: tokens)
      )
    } catch {
      let place = error.path.isEmpty ? "" : "\(error.path): "
      throw PromptError(.constraint, "\(place)\(error.message)")
    }
  }

  /// Returns the fewest tokens that a prompt can have, without tokenizing it.
  ///
  /// No token stands for more bytes than the vocabulary's longest piece. A chat template trims white space
  /// at both ends of a message, so there it counts for nothing. A template may leave out instructions or
  /// earlier thoughts, but no template leaves out what a user says.
  func leastTokens(of source: PromptSource) -> Int {
    guard let longest = tokenizer?.longestPieceBytes, longest > 0 else { return 0 }
    switch source {
    case .tokens(let tokens): return tokens.count
    case .text(let text, _):
      return text.utf8.count > longest ? text.utf8.count / longest : 0
    case .conversation(let messages, _):
      return messages.reduce(0) { sum, message in
        message.role == .user ? sum + trimmedByteCount(of: message.content) / longest : sum
      }
    }
  }

  private func trimmedByteCount(of text: String) -> Int {
    let bytes = text.utf8
    let isSpace = { (byte: UInt8) in byte == 0x20 || (0x09...0x0D).contains(byte) }
    guard let first = bytes.firstIndex(where: { !isSpace($0) }),
      let last = bytes.lastIndex(where: { !isSpace($0) })
    else { return 0 }
    return bytes.distance(from: first, to: last)
  }
}
