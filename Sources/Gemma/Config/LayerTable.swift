// Builds a model's layer records from the values of a config file.

internal import ModelFiles

/// The values of a config about the layers; arrays have one element for each layer.
struct LayerTable {
  /// The heads of a layer.
  struct Heads {
    var headCount, kvHeadCount, headDim: Int
    var attentionScale: Float
    var rope: LayerRecord.RopeParameters
    var valuesAreKeys = false
  }

  var isSliding: [Bool]
  var window: Int
  var heads: [Heads]
  var feedForwardSizes: [Int]
  var sparsityDeviations: [Float?]
  /// How many layers at the end read the keys and values of an earlier one.
  var sharingCount: Int

  /// Returns the default pattern: every `period`th layer has full attention, the others sliding
  /// attention.
  static func slidingPattern(period: Int, layerCount: Int) -> [Bool] {
    (0..<layerCount).map { !($0 + 1).isMultiple(of: period) }
  }

  /// Returns the records.
  ///
  /// A layer that shares keys and values reads those of the last owner with its own attention kind
  /// (transformers, Gemma3nTextAttention.__init__).
  func records(_ place: String) throws(GemmaError) -> [LayerRecord] {
    let count = isSliding.count
    guard heads.count == count, feedForwardSizes.count == count, sparsityDeviations.count == count
    else {
      throw GemmaError(
        .config,
        "\(count) layers, but heads of \(heads.count), \(feedForwardSizes.count) feed-forward sizes and"
          + " \(sparsityDeviations.count) sparsities",
        context: place
      )
    }
    guard (0..<count).contains(sharingCount) else {
      throw GemmaError(
        .config,
        "\(sharingCount) of \(count) layers share the keys and values of others; at least one layer must"
          + " have its own",
        context: place
      )
    }
    let ownerCount = count - sharingCount
    var records: [LayerRecord] = []
    for layer in 0..<count {
      var source = layer
      if layer >= ownerCount {
        guard let owner = (0..<ownerCount).last(where: { isSliding[$0] == isSliding[layer] }) else {
          let kind = isSliding[layer] ? "sliding" : "full"
          throw GemmaError(
            .config,
            "layer \(layer) shares keys and values, but no layer before \(ownerCount) has"
              + " \(kind) attention",
            context: place
          )
        }
        source = owner
      }
      let heads = heads[layer]
      records.append(
        LayerRecord(
          attention: isSliding[layer] ? .sliding(window: window) : .full,
          headCount: heads.headCount,
          kvHeadCount: heads.kvHeadCount,
          headDim: heads.headDim,
          attentionScale: heads.attentionScale,
          rope: heads.rope,
          kvSource: source,
          valuesAreKeys: heads.valuesAreKeys,
          feedForwardSize: feedForwardSizes[layer],
          sparsityDeviations: sparsityDeviations[layer]
        )
      )
    }
    return records
  }

  /// Returns one value for each layer, from a list or from a single value for all.
  static func perLayer<Value>(
    _ values: [Value],
    _ name: String,
    layerCount: Int,
    _ place: String
  ) throws(GemmaError) -> [Value] {
    if values.count == layerCount { return values }
    guard values.count == 1 else {
      throw GemmaError(
        .config,
        "\(name) has \(values.count) values for \(layerCount) layers",
        context: place
      )
    }
    return Array(repeating: values[0], count: layerCount)
  }
}
