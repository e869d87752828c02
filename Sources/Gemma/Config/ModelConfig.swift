// What a Gemma model is, as data: sizes, and one record a layer. Read from the checkpoint's own
// metadata by ModelConfig+GGUF.swift and ModelConfig+HuggingFace.swift; lowered to programs by
// Lowering/. Nothing here or there knows a particular model size.

/// The model families whose files are read.
///
/// It says how a file spells things. What is computed, the features and the layer records say.
package enum Architecture: String, Sendable, Hashable, CaseIterable {
  case gemma3
  case gemma3n
}

/// How a layer attends.
package enum AttentionKind: Sendable, Hashable {
  /// To every position up to its own.
  case full
  /// To the last `window` positions, its own included.
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
/// What a layer computes follows from its record and from the features of the model; nothing is
/// written for a family of models.
package struct LayerRecord: Sendable, Hashable {
  package var attention: AttentionKind
  package var headCount: Int
  package var kvHeadCount: Int
  package var headDim: Int
  /// Query · key is multiplied by this.
  package var attentionScale: Float
  package var rope: RopeParameters
  /// The layer whose keys and values this one reads: its own index, or an earlier one's (KV sharing).
  package var kvSource: Int
  package var feedForwardSize: Int
  /// Standard deviations above the mean under which a gate is cut to zero; nil for a dense gate.
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
    self.feedForwardSize = feedForwardSize
    self.sparsityDeviations = sparsityDeviations
  }

  /// The width of a row's queries, and of what attention makes of them.
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
  /// Values are normed per head without gain.
  package var normsValues: Bool
  package var finalSoftcap: Float?
  package var bosToken: Int32
  /// Tokens that end a turn, from the model's metadata.
  package var eosTokens: [Int32]
  package var layers: [LayerRecord]
  /// The residual streams that AltUp keeps; nil for one stream without it.
  package var altUp: AltUpConfig?
  /// The low-rank branch beside attention, if layers have one.
  package var laurel: LaurelConfig?
  /// What each layer takes in of each token beside the residual stream, if anything.
  package var perLayerInput: PerLayerInputConfig?
  /// Whether the file has an output matrix of its own; else the logits are products with the embedding.
  ///
  /// A file's tensors say so, not its config: what stands there is used, as llama.cpp and transformers do.
  package var hasOwnHead = false
  /// Whether rows whose output nobody wants pass all layers, and not just what leaves keys and values.
  ///
  /// It changes no result; it is there to measure what skipping is worth.
  package var passesAllLayers = false

  package init(
    architecture: Architecture,
    vocabularySize: Int,
    hiddenSize: Int,
    contextTokens: Int,
    normEpsilon: Float,
    normGainOffset: Float,
    normsValues: Bool,
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

  /// How many residual streams go from layer to layer.
  package var streamCount: Int { altUp?.streamCount ?? 1 }

  /// The first layer from which on no layer owns a KV cache; the layer count if all own one.
  package var firstSharedLayer: Int {
    (layers.indices.last { layers[$0].kvSource == $0 } ?? -1) + 1
  }

  /// The first layer that only rows enter whose output somebody wants; the layer count if all rows
  /// pass all layers.
  package var firstSkippedLayer: Int { passesAllLayers ? layers.count : firstSharedLayer }

  /// The layer in which rows whose output nobody wants end; nil if all rows pass all layers.
  ///
  /// It is the last that owns keys and values; they end once theirs are kept.
  package var narrowingLayer: Int? { passesAllLayers ? nil : firstSharedLayer - 1 }
}

// MARK: - Features that a model has or not, each by itself

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
