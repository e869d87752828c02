// Where an answer is in its grammar.

/// How far an answer has come, and which tokens may come next.
///
/// A value that costs two references to copy. It follows from the accepted tokens alone.
package struct GrammarState: Sendable {
  private let store: AutomatonStore
  private let vocabulary: VocabularyStorage
  private var place = AutomatonStore.Place()

  /// The state before the first token.
  package init(_ grammar: CompiledGrammar, _ vocabulary: TokenVocabulary) {
    store = grammar.store
    self.vocabulary = vocabulary.storage
  }

  /// The tokens that may come next: of token t bit t % 8 of byte t / 8.
  ///
  /// Tokens that end the turn are among them where the answer is complete, and alone where nothing
  /// else may come. None is if the last token was not allowed, or if the grammar asks for a byte
  /// that no token begins with.
  package var allowed: [UInt8] {
    var place = place
    return store.with(&place) { $0.mask($1, vocabulary) }
  }

  /// Takes a token of the answer; never one that ends the turn.
  ///
  /// - Returns: Whether it was allowed. After one that was not nothing is.
  /// - Precondition: It is in the vocabulary.
  @discardableResult
  package mutating func accept(_ token: Int32) -> Bool {
    precondition(
      vocabulary.texts.indices.contains(Int(token)),
      "token \(token) outside \(vocabulary.texts.indices)"
    )
    let bytes = vocabulary.texts[Int(token)]
    // A token without bytes is allowed nowhere.
    if bytes.isEmpty { store.with(&place) { $1 = Automaton.dead } }
    return accept(bytes: bytes)
  }

  /// Takes bytes of the answer, as a token of these bytes does.
  ///
  /// - Returns: Whether they were allowed.
  @discardableResult
  package mutating func accept(bytes: [UInt8]) -> Bool {
    store.with(&place) { automaton, stack in
      for byte in bytes { stack = automaton.next(stack, byte) }
      return stack != Automaton.dead
    }
  }

  /// Whether the answer may end here.
  package var isComplete: Bool {
    var place = place
    return store.with(&place) { $0.isAccepting($1) }
  }
}
