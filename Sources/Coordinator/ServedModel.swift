// What the coordinator knows of the model that it serves.

package import Content
package import Gemma

/// What the coordinator must know of the model.
package struct ServedModel: Sendable {
  package var name: String
  package var fingerprint: Digest
  package var config: ModelConfig
  /// Where in a vector the inputs of its products stand.
  package let observationLayout: ObservationLayout
  /// What a decoded token reads of each layer, in bytes.
  package var cost: DecodeCost
  /// What its pieces take in memory.
  package var footprint: ModelFootprint
  /// The ops that a device must be able to run.
  package var ops: ModelOps
  /// Nil for a model directory without one: then prompts must be tokens.
  package var tokenizer: Tokenizer?
  /// The chat template, or why there is none.
  package var template: Result<ChatTemplate, GemmaError>
  /// Tokens that are never drawn.
  package var suppressedTokens: [Int32]

  package init(
    name: String,
    fingerprint: Digest,
    config: ModelConfig,
    cost: DecodeCost,
    footprint: ModelFootprint,
    ops: ModelOps,
    tokenizer: Tokenizer?,
    template: Result<ChatTemplate, GemmaError>,
    suppressedTokens: [Int32] = []
  ) {
    self.name = name
    self.fingerprint = fingerprint
    self.config = config
    observationLayout = ObservationLayout(config)
    self.cost = cost
    self.footprint = footprint
    self.ops = ops
    self.tokenizer = tokenizer
    self.template = template
    self.suppressedTokens = suppressedTokens
  }
}
