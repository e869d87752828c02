// The model families whose files can be read, and what a family's files leave unsaid.

/// A model family.
///
/// It tells how a file spells its keys, and the features that no key mentions. What is computed depends only
/// on the features and the layer records.
package enum Architecture: String, Sendable, Hashable, CaseIterable {
  case gemma3
  case gemma3n
  case gemma4
}

extension Architecture {
  /// Whether the model has AltUp's streams, LAuReL branches and sparse gates.
  var hasStreams: Bool { self == .gemma3n }

  /// Whether values are normed per head.
  var normsValues: Bool { self != .gemma3 }

  /// Whether each layer multiplies its result by a number of its own.
  var scalesLayers: Bool { self == .gemma4 }

  /// Whether products of queries and keys are not scaled, because the norms of both have the scale in
  /// their gains.
  var hasUnitAttentionScale: Bool { self != .gemma3 }

  /// Whether files in Hugging Face layout hold norm gains zero-centred.
  var storesGainsZeroCentred: Bool { self == .gemma3 }

  /// The share of a head's pairs that are rotated in layers with full attention.
  ///
  /// GGUF files have no key for it; Hugging Face files may say otherwise.
  var rotatedShareOfFullAttention: Double { self == .gemma4 ? 0.25 : 1 }
}
