// A model directory in Hugging Face layout: config.json, generation_config.json if there is one,
// and safetensors, in one file or in shards with an index.

import Foundation

/// The files of a model directory.
package struct HuggingFaceDirectory: Sendable {
  /// The directory.
  package let path: String
  /// `config.json`.
  package let config: JSONObject
  /// `generation_config.json`, if there is one.
  package let generationConfig: JSONObject?
  /// The tensors of all shards, as the files spell their names.
  package let tensors: [StoredTensor]

  private static let shardCountLimit = 1024

  /// Opens a directory and reads the headers of its files.
  ///
  /// - Throws: `ModelFilesError` that names the missing or malformed file.
  package static func open(_ path: String) throws(ModelFilesError) -> HuggingFaceDirectory {
    let config = try JSONObject.read("\(path)/config.json")
    try refuseQuantised(config, ModelPath.names(in: path))
    let generation = "\(path)/generation_config.json"
    let generationConfig = exists(generation) ? try JSONObject.read(generation) : nil
    let tensors = try tensors(in: path)
    try refuseQuantised(tensors)
    return HuggingFaceDirectory(
      path: path,
      config: config,
      generationConfig: generationConfig,
      tensors: tensors
    )
  }

  /// Returns the names of the files beside the safetensors that `open` reads.
  package static func describingFiles(in path: String) -> [String] {
    ["config.json", "generation_config.json", "model.safetensors.index.json"].filter {
      exists("\(path)/\($0)")
    }
  }

  private static func tensors(in path: String) throws(ModelFilesError) -> [StoredTensor] {
    let single = "\(path)/model.safetensors"
    if exists(single) { return try SafetensorsFile.open(single).tensors }
    let index = "\(path)/model.safetensors.index.json"
    if exists(index) { return try shards(index, in: path) }
    let names = ModelPath.names(in: path)
    let candidates = names.filter { $0.hasSuffix(".safetensors") }
    guard candidates.count == 1, !names.contains("adapter_config.json") else {
      throw noWeights(path, names)
    }
    return try SafetensorsFile.open("\(path)/\(candidates[0])").tensors
  }

  /// Returns the tensors of all shards that an index names.
  private static func shards(
    _ index: String,
    in path: String
  ) throws(ModelFilesError) -> [StoredTensor] {
    guard let map = try JSONObject.read(index).object("weight_map"), !map.fields.isEmpty else {
      throw ModelFilesError(.format, "weight_map is missing or empty", context: index)
    }
    var shardOfTensor: [String: String] = [:]
    for name in map.fields.keys.sorted() {
      shardOfTensor[name] = try plainFileName(map, name)
    }
    let shards = Set(shardOfTensor.values).sorted()
    guard shards.count <= shardCountLimit else {
      throw ModelFilesError(
        .format,
        "\(shards.count) shards; at most \(shardCountLimit) are read",
        context: index
      )
    }
    var tensors: [StoredTensor] = []
    var home: [String: String] = [:]
    for shard in shards {
      guard exists("\(path)/\(shard)") else {
        throw ModelFilesError(
          .file,
          "shard \(shard) is missing; fetch it into the directory",
          context: index
        )
      }
      for tensor in try SafetensorsFile.open("\(path)/\(shard)").tensors {
        if let other = home.updateValue(shard, forKey: tensor.name) {
          throw ModelFilesError(
            .format,
            "tensor \(tensor.name) stands in \(other) and in \(shard)",
            context: index
          )
        }
        tensors.append(tensor)
      }
    }
    for (name, shard) in shardOfTensor where home[name] != shard {
      throw ModelFilesError(.tensor, "tensor \(name) is not in shard \(shard)", context: index)
    }
    return tensors
  }

  /// Returns the file of a tensor; a path that could lead out of the directory is refused.
  private static func plainFileName(
    _ map: JSONObject,
    _ name: String
  ) throws(ModelFilesError) -> String {
    guard let file = try map.string(name), file.hasSuffix(".safetensors"),
      !file.utf8.contains(UInt8(ascii: "/")), !file.utf8.contains(0)
    else {
      throw ModelFilesError(
        .format,
        "\(name) is said to be in \(map.value(name)?.kind ?? "null"), which names no"
          + " .safetensors file of the directory",
        context: map.place
      )
    }
    return file
  }

  private static func exists(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: path)
  }
}
