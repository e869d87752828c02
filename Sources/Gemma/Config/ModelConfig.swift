// What a Gemma model is, as data: sizes, and one record a layer. Read from the checkpoint's own
// metadata by ModelConfig+GGUF.swift and ModelConfig+HuggingFace.swift; lowered to programs by
// Lowering/. Nothing here or there knows a particular model size.

/// The model families this module can lower.
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
package struct LayerRecord: Sendable, Hashable {
  package var attention: AttentionKind
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

    package init(theta: Float, positionScale: Float = 1) {
      self.theta = theta
      self.positionScale = positionScale
    }
  }

  package init(
    attention: AttentionKind,
    rope: RopeParameters,
    kvSource: Int,
    feedForwardSize: Int,
    sparsityDeviations: Float?
  ) {
    self.attention = attention
    self.rope = rope
    self.kvSource = kvSource
    self.feedForwardSize = feedForwardSize
    self.sparsityDeviations = sparsityDeviations
  }
}

/// A Gemma text model's sizes and layers.
package struct ModelConfig: Sendable, Hashable {
  package var architecture: Architecture
  package var vocabularySize: Int
  package var hiddenSize: Int
  package var headCount: Int
  package var kvHeadCount: Int
  package var headDim: Int
  /// The longest context the model was trained for, in tokens.
  package var contextTokens: Int
  package var normEpsilon: Float
  /// Added to every norm gain: 1 where the file stores gains zero-centred (Gemma 3 in Hugging Face
  /// layout), else 0.
  package var normGainOffset: Float
  /// Query · key is multiplied by this.
  package var attentionScale: Float
  /// Values are normed per head without gain (Gemma 3n).
  package var normsValues: Bool
  package var finalSoftcap: Float?
  package var bosToken: Int32
  /// Tokens that end a turn, from the model's metadata.
  package var eosTokens: [Int32]
  package var layers: [LayerRecord]
  /// Gemma 3n's additions; nil for Gemma 3.
  package var gemma3n: Gemma3nConfig?
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
    headCount: Int,
    kvHeadCount: Int,
    headDim: Int,
    contextTokens: Int,
    normEpsilon: Float,
    normGainOffset: Float,
    attentionScale: Float,
    normsValues: Bool,
    finalSoftcap: Float?,
    bosToken: Int32,
    eosTokens: [Int32],
    layers: [LayerRecord],
    gemma3n: Gemma3nConfig?
  ) {
    self.architecture = architecture
    self.vocabularySize = vocabularySize
    self.hiddenSize = hiddenSize
    self.headCount = headCount
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.contextTokens = contextTokens
    self.normEpsilon = normEpsilon
    self.normGainOffset = normGainOffset
    self.attentionScale = attentionScale
    self.normsValues = normsValues
    self.finalSoftcap = finalSoftcap
    self.bosToken = bosToken
    self.eosTokens = eosTokens
    self.layers = layers
    self.gemma3n = gemma3n
  }

  /// The weight whose rows give the logits.
  package var head: ModelWeight { hasOwnHead ? .head : .embedTokens }

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

/// What Gemma 3n adds to a decoder: AltUp, LAuReL and per-layer inputs.
package struct Gemma3nConfig: Sendable, Hashable {
  /// AltUp's streams.
  package var streamCount: Int
  package var activeStream: Int
  /// Whether the active stream is scaled before the per-layer input (altup_correct_scale).
  package var scalesActiveStream: Bool
  package var laurelRank: Int
  /// The width of one layer's per-layer input.
  package var perLayerInputSize: Int
  /// Rows of the per-layer table; a token beyond it uses row 0.
  package var perLayerVocabularySize: Int

  package init(
    streamCount: Int,
    activeStream: Int,
    scalesActiveStream: Bool,
    laurelRank: Int,
    perLayerInputSize: Int,
    perLayerVocabularySize: Int
  ) {
    self.streamCount = streamCount
    self.activeStream = activeStream
    self.scalesActiveStream = scalesActiveStream
    self.laurelRank = laurelRank
    self.perLayerInputSize = perLayerInputSize
    self.perLayerVocabularySize = perLayerVocabularySize
  }
}
