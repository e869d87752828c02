// What the coordinator needs to know of a model.

package import Content
package import Coordinator
package import Gemma

extension ServedModel {
  /// Collects what the coordinator needs to know of a checkpoint.
  ///
  /// A model without a tokenizer is served, too, because requests may contain tokens. A broken
  /// tokenizer is an error.
  package init(_ checkpoint: Checkpoint, fingerprint: Digest) throws {
    let tokenizer = checkpoint.hasTokenizer ? try checkpoint.tokenizer() : nil
    let template = Result { () throws(GemmaError) in try checkpoint.chatTemplate(for: tokenizer) }
    // The end tokens of the config and of the tokenizer both count: files often have the token for
    // the end of the text in the one, and that for the end of a turn in the other.
    var config = checkpoint.config
    for token in tokenizer?.eosTokens ?? [] where !config.eosTokens.contains(token) {
      config.eosTokens.append(token)
    }
    self.init(
      name: checkpoint.name,
      fingerprint: fingerprint,
      config: config,
      cost: checkpoint.decodeCost,
      footprint: try ModelFootprint(checkpoint),
      ops: try checkpoint.config.ops(weights: checkpoint),
      tokenizer: tokenizer,
      template: template,
      suppressedTokens: try checkpoint.suppressedTokens(tokenizer)
    )
  }
}
