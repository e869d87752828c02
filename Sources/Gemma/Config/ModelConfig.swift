// A Gemma model as data: its sizes, and one record for each layer. ModelConfig+GGUF.swift and
// ModelConfig+HuggingFace.swift read it from the checkpoint's metadata, and Lowering/ turns it into
// programs. No size of a particular model is written into the code.

/// The kind of a layer's attention.
package enum AttentionKind: Sendable, Hashable {
  /// A row attends to every position up to its own.
  case full
  /// A row attends to the last `window` positions, its own included.
  case sliding(window: Int)

  /// The number of positions a row sees; nil for all.
  package var window: Int? {
    switch self {
    case .full: nil
    case .sliding(let window): window
    }
  }
}

/// One decoder layer.
///
/// What a layer computes follows from its record and from the features of the model, not from the
/// architecture.
package struct LayerRecord: Sendable, Hashable {
  package var attention: AttentionKind
  package var headCount: Int
  package var kvHeadCount: Int
  package var headDim: Int
  /// The factor of the products of queries and keys.
  package var attentionScale: Float
  package var rope: RopeParameters
  /// The layer whose keys and values this one reads: itself, or an earlier one (KV sharing).
  package var kvSource: Int
  /// Whether the layer has no projection of values: they are the keys before their norm and rotation.
  package var valuesAreKeys: Bool
  package var feedForwardSize: Int
  /// The threshold below which a gate is set to zero, in standard deviations above the mean; nil
  /// for a dense gate.
  package var sparsityDeviations: Float?

  /// Rotary position embedding of a layer.
  package struct RopeParameters: Sendable, Hashable {
    package var theta: Float
    /// Positions are multiplied by this.
    package var positionScale: Float
    /// How many of a head's pairs of values are rotated, from the first on; nil for all.
    package var rotatedPairs: Int?

    package init(theta: Float, positionScale: Float = 1, rotatedPairs: Int? = nil) {
      self.theta = theta
      self.positionScale = positionScale
      self.rotatedPairs = rotatedPairs
    }
  }

  package init(
    attention: AttentionKind,
    headCount: Int,
    kvHeadCount: Int,
    headDim: Int,
    attentionScale: Float,
    rope: RopeParameters,
    kvSource: Int,
    valuesAreKeys: Bool = false,
    feedForwardSize: Int,
    sparsityDeviations: Float? = nil
  ) {
    self.attention = attention
    self.headCount = headCount
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.attentionScale = attentionScale
    self.rope = rope
    self.kvSource = kvSource
    self.valuesAreKeys = valuesAreKeys
    self.feedForwardSize = feedForwardSize
    self.sparsityDeviations = sparsityDeviations
  }

  /// The width of a row's queries, and of the result of attention before its output projection.
  package var queryWidth: Int { headCount * headDim }

  /// The width of a row's keys, and of its values.
  package var kvWidth: Int { kvHeadCount * headDim }
}

/// A Gemma text model's sizes and layers.
package struct ModelConfig: Sendable, Hashable {
  package var architecture: Architecture
  package var vocabularySize: Int
  package var hiddenSize: Int
  /// The longest context the model was trained for, in tokens.
  package var contextTokens: Int
  package var normEpsilon: Float
  /// Added to every norm gain: 1 where the file stores gains zero-centred (Gemma 3 in Hugging Face
  /// layout), else 0.
  package var normGainOffset: Float
  /// Whether values are normed per head, without gain.
  package var normsValues: Bool
  /// Whether each layer multiplies its result, the whole residual stream, by a number of its own.
  package var scalesLayers: Bool
  package var finalSoftcap: Float?
  package var bosToken: Int32
  /// Tokens that end a turn, from the model's metadata.
  package var eosTokens: [Int32]
  package var layers: [LayerRecord]
  /// The residual streams that AltUp keeps; nil for one stream without it.
  package var altUp: AltUpConfig?
  /// The low-rank branch beside attention, if layers have one.
  package var laurel: LaurelConfig?
  /// The inputs that each layer has for each token besides the residual stream, if any.
  package var perLayerInput: PerLayerInputConfig?
  /// Whether the file has a separate output matrix; otherwise logits are products with the
  /// embedding.
  ///
  /// This depends on the file's tensors and not on its config: if there is such a matrix, it is
  /// used, as in llama.cpp and transformers.
  package var hasOwnHead = false
  /// Whether rows whose output is not wanted pass all layers, and not only those that own keys and
  /// values.
  ///
  /// It changes no result, and serves to measure how much skipping saves.
  package var passesAllLayers = false

  package init(
    architecture: Architecture,
    vocabularySize: Int,
    hiddenSize: Int,
    contextTokens: Int,
    normEpsilon: Float,
    normGainOffset: Float,
    normsValues: Bool,
    scalesLayers: Bool = false,
    finalSoftcap: Float?,
    bosToken: Int32,
    eosTokens: [Int32],
    layers: [LayerRecord],
    altUp: AltUpConfig? = nil,
    laurel: LaurelConfig? = nil,
    perLayerInput: PerLayerInputConfig? = nil
  ) {
    self.architecture = architecture
    self.vocabularySize = vocabularySize
    self.hiddenSize = hiddenSize
    self.contextTokens = contextTokens
    self.normEpsilon = normEpsilon
    self.normGainOffset = normGainOffset
    self.normsValues = normsValues
    self.scalesLayers = scalesLayers
    self.finalSoftcap = finalSoftcap
    self.bosToken = bosToken
    self.eosTokens = eosTokens
    self.layers = layers
    self.altUp = altUp
    self.laurel = laurel
    self.perLayerInput = perLayerInput
  }

  /// The weight whose rows give the logits.
  package var head: ModelWeight { hasOwnHead ? .head : .embedTokens }

  /// The number of residual streams.
  package var streamCount: Int { altUp?.streamCount ?? 1 }

  /// The first of the layers at the end that own no KV cache; the layer count if there are none.
  package var firstSharedLayer: Int {
    (layers.indices.last { layers[$0].kvSource == $0 } ?? -1) + 1
  }

  /// The first layer that only wanted rows enter; the layer count if all rows pass all layers.
  package var firstSkippedLayer: Int { passesAllLayers ? layers.count : firstSharedLayer }

  /// The layer in which rows whose output is not wanted end; nil if all rows pass all layers.
  ///
  /// It is the last layer that owns keys and values. The rows end as soon as theirs are in the
  /// cache.
  package var narrowingLayer: Int? { passesAllLayers ? nil : firstSharedLayer - 1 }
}

// MARK: - Optional features, each independent of the others

/// Alternating updates: several residual streams, of which one runs through the layers while the others
/// are predicted and corrected (arXiv 2301.13310).
package struct AltUpConfig: Sendable, Hashable {
  package var streamCount: Int
  package var activeStream: Int
  /// Whether the active stream is scaled before the per-layer input (altup_correct_scale).
  package var scalesActiveStream: Bool

  package init(streamCount: Int, activeStream: Int, scalesActiveStream: Bool) {
    self.streamCount = streamCount
    self.activeStream = activeStream
    self.scalesActiveStream = scalesActiveStream
  }
}

/// Learned augmented residual layers: a low-rank branch beside attention (arXiv 2411.07501).
package struct LaurelConfig: Sendable, Hashable {
  package var rank: Int

  package init(rank: Int) { self.rank = rank }
}

/// Per-layer embeddings: a vector for each token and layer, from a table and from the token's embedding.
package struct PerLayerInputConfig: Sendable, Hashable {
  /// The width of one layer's vector.
  package var size: Int
  /// Rows of the table; a token beyond it uses row 0.
  package var vocabularySize: Int

  package init(size: Int, vocabularySize: Int) {
    self.size = size
    self.vocabularySize = vocabularySize
  }
}
