// What the coordinator is told of a model.

package import Content
package import Coordinator
package import Gemma

extension ServedModel {
  /// Gathers what the coordinator needs of a checkpoint.
  ///
  /// A model without tokenizer is served all the same: requests may bring tokens. A broken tokenizer
  /// is an error.
  package init(_ checkpoint: Checkpoint, fingerprint: Digest) throws {
    let tokenizer = checkpoint.hasTokenizer ? try checkpoint.tokenizer() : nil
    let template = Result { () throws(GemmaError) in try checkpoint.chatTemplate(for: tokenizer) }
    // An answer ends where the config or the tokenizer says: files often name the end of the text in
    // the one and that of a turn in the other.
    var config = checkpoint.config
    for token in tokenizer?.eosTokens ?? [] where !config.eosTokens.contains(token) {
      config.eosTokens.append(token)
    }
    self.init(
      name: checkpoint.name,
      fingerprint: fingerprint,
      config: config,
      cost: checkpoint.decodeCost,
      tokenizer: tokenizer,
      template: template
    )
  }
}
