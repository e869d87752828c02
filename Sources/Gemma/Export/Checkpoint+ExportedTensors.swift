// The tensors of a GGUF file for an opened model. Their names and shapes are llama.cpp's: src/models/gemma3.cpp,
// gemma3n.cpp and gemma4.cpp in ggml-org/llama.cpp; what its converter does to values, conversion/gemma.py.

internal import ModelFiles

extension Checkpoint {
  /// The tensors of a GGUF file with this model.
  ///
  /// A GGUF file's own are all there, in their order, also those that the text model here does not use. Of a directory,
  /// they are the text model's, and those that llama.cpp reads besides: keys and values of layers that share those of
  /// another, and the factors of Gemma 4's partial rope.
  package var ggufTensors: [ExportedTensor] {
    gguf.map { tensors(of: $0) } ?? config.modelTensors(self) + config.layerTensors(self)
  }

  /// How many tensors of a directory are left out of `ggufTensors`, by the first part of their names: encoders for
  /// images and sound, and what the text model does not need.
  package var tensorsLeftOut: [(group: String, count: Int)] {
    guard gguf == nil else { return [] }
    var exported: Set<String> = []
    for tensor in ggufTensors {
      guard case .stored(let parts, _) = tensor.content else { continue }
      exported.formUnion(parts.map(\.name))
    }
    var counts: [String: Int] = [:]
    for tensor in ignoredTensors where !exported.contains(tensor.name) {
      let parts = tensor.name.split(separator: ".")
      counts[String(parts.first { $0 != "model" } ?? ""), default: 0] += 1
    }
    return counts.sorted { $0.key < $1.key }.map { (group: $0.key, count: $0.value) }
  }

  private func tensors(of file: GGUFFile) -> [ExportedTensor] {
    var weightsOfTensor: [String: [WeightName]] = [:]
    for weight in weights {
      weightsOfTensor[weight.name.gguf.name, default: []].append(weight.name)
    }
    return file.tensors.map { tensor in
      let names = weightsOfTensor[tensor.name] ?? []
      return ExportedTensor(
        name: tensor.name,
        shape: tensor.shape,
        weights: names.sorted { ($0.gguf.slice ?? 0) < ($1.gguf.slice ?? 0) },
        content: .stored([tensor], added: 0)
      )
    }
  }
}

extension ModelConfig {
  /// What the frequencies of pairs that are not rotated are divided by (`Gemma4Model.generate_extra_tensors`).
  private static let unrotated: Float = 1e30

  fileprivate func modelTensors(_ checkpoint: Checkpoint) -> [ExportedTensor] {
    var tensors: [ExportedTensor] = []
    for weight in checkpoint.weights {
      guard case .model(let name) = weight.name else { continue }
      var tensor = tensor(weight)
      switch name {
      case .altupProjection(let index), .altupUnembedProjection(let index):
        // All streams but the first have a matrix; they are stacked in the order of the streams.
        guard index == 0 else { continue }
        let parts = checkpoint.weights.filter { $0.name.gguf.name == tensor.name }
        tensor.shape.insert(parts.count, at: 0)
        tensor.weights = parts.map(\.name)
        tensor.content = .stored(parts.map(\.tensor), added: 0)
      case .embedTokensPerLayer:
        // llama.cpp wants a row for each token; those behind the table have the first.
        tensor.shape[0] = vocabularySize
      case .embedTokens, .norm, .head, .perLayerModelProjection, .perLayerProjectionNorm: break
      }
      tensors.append(tensor)
    }
    if architecture == .gemma4, let layer = layers.first(where: { $0.attention == .full }) {
      let pairs = layer.headDim / 2
      let rotated = layer.rope.rotatedPairs ?? pairs
      tensors.append(
        ExportedTensor(
          name: "rope_freqs.weight",
          shape: [pairs],
          weights: [],
          content: .values((0..<pairs).map { $0 < rotated ? 1 : Self.unrotated })
        )
      )
    }
    return tensors
  }

  fileprivate func layerTensors(_ checkpoint: Checkpoint) -> [ExportedTensor] {
    var tensors = layers.map { _ in [ExportedTensor]() }
    for weight in checkpoint.weights {
      guard case .layer(let layer, _) = weight.name else { continue }
      tensors[layer].append(tensor(weight))
    }
    let ignored = Dictionary(
      checkpoint.ignoredTensors.map { (WeightName.canonical(huggingFace: $0.name), $0) },
      uniquingKeysWith: { first, _ in first }
    )
    for layer in layers.indices { tensors[layer] += unusedTensors(layer, ignored) }
    return tensors.flatMap(\.self)
  }

  private func tensor(_ weight: Checkpoint.Weight) -> ExportedTensor {
    ExportedTensor(
      name: weight.name.gguf.name,
      shape: weight.tensor.shape,
      weights: [weight.name],
      content: .stored([weight.tensor], added: weight.name.isNormGain ? normGainOffset : 0)
    )
  }

  /// Returns the tensors of a layer that only llama.cpp reads.
  ///
  /// Of Gemma 3n it needs all, though it does not use them (llama_model_gemma3n::load_arch_tensors); transformers 5
  /// leaves them out, so there they are made. Of Gemma 4 it takes those that there are. A projection of values would
  /// say that keys are not values in the layers with full attention.
  private func unusedTensors(_ layer: Int, _ ignored: [String: StoredTensor]) -> [ExportedTensor] {
    let record = layers[layer]
    var wanted: [(weight: LayerWeight, shape: [Int], value: Float)] = []
    if record.kvSource != layer {
      wanted.append((.key, [record.kvWidth, hiddenSize], 0))
      if !record.valuesAreKeys { wanted.append((.value, [record.kvWidth, hiddenSize], 0)) }
      wanted.append((.keyNorm, [record.headDim], 0))
    }
    if altUp?.scalesActiveStream == false { wanted.append((.altupOutputScale, [hiddenSize], 1)) }
    var tensors: [ExportedTensor] = []
    for (weight, shape, value) in wanted {
      let name = WeightName.layer(layer, weight)
      let stored = weight == .altupOutputScale ? nil : ignored[name.canonical]
      var content = ExportedTensor.Content.constant(value)
      if let stored, stored.shape == shape, stored.type != nil {
        content = .stored([stored], added: 0)
      } else if architecture != .gemma3n {
        continue
      }
      tensors.append(
        ExportedTensor(name: name.gguf.name, shape: shape, weights: [], content: content)
      )
    }
    return tensors
  }
}

extension WeightName {
  /// Whether it is the gain of a norm, which files of some families hold zero-centred.
  fileprivate var isNormGain: Bool {
    switch self {
    case .model(let weight):
      switch weight {
      case .norm, .perLayerProjectionNorm: true
      case .embedTokens, .head, .embedTokensPerLayer, .perLayerModelProjection, .altupProjection,
        .altupUnembedProjection:
        false
      }
    case .layer(_, let weight):
      switch weight {
      case .inputNorm, .postAttentionNorm, .preFeedForwardNorm, .postFeedForwardNorm, .queryNorm,
        .keyNorm,
        .altupRouterNorm, .laurelNorm, .perLayerNorm:
        true
      case .query, .key, .value, .output, .gate, .up, .down, .altupRouter, .altupPrediction,
        .altupCorrection, .altupOutputScale, .laurelLeft, .laurelRight, .perLayerGate,
        .perLayerProjection, .outputScale:
        false
      }
    }
  }
}
