// Matches the tensors of a file with the weights a config needs.

import Compute
internal import ModelFiles

/// The weights of a model, found in its files.
struct Inventory {
  private(set) var weights: [Checkpoint.Weight] = []
  private(set) var weightOfName: [String: Checkpoint.Weight] = [:]
  /// Tensors that no weight needs.
  private(set) var ignored: [StoredTensor] = []

  init(_ config: ModelConfig, gguf file: GGUFFile) throws(GemmaError) {
    let tensors = Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name, $0) })
    var used: Set<String> = []
    for (name, shape) in config.neededWeights {
      let (spelling, slice) = name.gguf
      guard let tensor = tensors[spelling] else {
        throw Inventory.missing(spelling, tensors.keys, file.path)
      }
      used.insert(spelling)
      guard let slice else {
        try add(name, tensor, shape: shape)
        continue
      }
      // All streams but the first have a matrix; they are stacked along the outermost dimension.
      let stacked = [config.streamCount - 1] + shape
      try Inventory.check(tensor, shape: stacked)
      try add(name, tensor.slice(slice), shape: shape)
    }
    ignored = file.tensors.filter { !used.contains($0.name) }
  }

  init(_ config: ModelConfig, _ directory: HuggingFaceDirectory) throws(GemmaError) {
    var tensors: [String: [StoredTensor]] = [:]
    for tensor in directory.tensors {
      tensors[WeightName.canonical(huggingFace: tensor.name), default: []].append(tensor)
    }
    var used: Set<String> = []
    for (name, shape) in config.neededWeights {
      let candidates = tensors[name.canonical] ?? []
      guard let tensor = candidates.first else {
        throw GemmaError(
          .tensor,
          "tensor \(name.canonical) is missing, under every known prefix",
          context: directory.path
        )
      }
      guard candidates.count == 1 else {
        throw GemmaError(
          .tensor,
          "\(candidates.map(\.name).sorted().joined(separator: " and ")) are both"
            + " \(name.canonical)",
          context: directory.path
        )
      }
      used.insert(tensor.name)
      try add(name, tensor, shape: shape)
    }
    ignored = directory.tensors.filter { !used.contains($0.name) }
  }

  private static func missing(
    _ name: String,
    _ names: some Sequence<String>,
    _ path: String
  ) -> GemmaError {
    let fused = name.replacing("attn_q.", with: "attn_qkv.")
    guard fused != name, names.contains(fused) else {
      return GemmaError(.tensor, "tensor \(name) is missing", context: path)
    }
    return GemmaError(
      .unsupported,
      "tensor \(fused) holds the projections of queries, keys and values in one; use a file in which they"
        + " are tensors of their own, as llama.cpp's converter writes them",
      context: path
    )
  }

  private mutating func add(
    _ name: WeightName,
    _ tensor: StoredTensor,
    shape: [Int]
  ) throws(GemmaError) {
    try Inventory.check(tensor, shape: shape)
    guard let type = tensor.type else {
      let known = TensorType.allCases.map { $0.rawValue.uppercased() }.joined(separator: ", ")
      throw GemmaError(
        .unsupported,
        "tensor \(tensor.name) has type \(tensor.typeName), which no backend computes with; use a file"
          + " quantised to one of \(known)",
        context: tensor.file.path
      )
    }
    let weight = Checkpoint.Weight(name: name, tensor: tensor, type: type)
    weights.append(weight)
    weightOfName[name.canonical] = weight
  }

  private static func check(_ tensor: StoredTensor, shape: [Int]) throws(GemmaError) {
    guard tensor.shape == shape else {
      throw GemmaError(
        .tensor,
        "tensor \(tensor.name) has shape \(tensor.shape), but the config says \(shape)",
        context: tensor.file.path
      )
    }
  }
}
