// Safetensors headers: sound ones, and every way to break one.

import Foundation
import Gemma
import ModelFiles
import TestSupport
import Testing

@Suite struct `Safetensors directory` {
  private let model = TinyModel.gemma3

  /// Expects that the model is refused after a change of its safetensors file.
  private func refuse(
    _ code: GemmaError.Code,
    _ words: String,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ change: (inout SafetensorsBuilder) -> Void
  ) throws {
    var builder = model.safetensors
    change(&builder)
    try withTemporaryDirectory { directory in
      try model.writeConfig(to: directory)
      try builder.write(to: "\(directory)/model.safetensors")
      expectRefusal(code, words, sourceLocation: sourceLocation) {
        _ = try Checkpoint.open(directory)
      }
    }
  }

  @Test func `header lengths`() throws {
    for length in [0, 1, 100, 1 << 32, UInt64(Int.max), .max] as [UInt64] {
      try refuse(.format, "model.safetensors") { $0.claimedHeaderLength = length }
    }
  }

  @Test func `a header above the limit is refused before it is parsed`() throws {
    try withTemporaryDirectory { directory in
      try model.writeConfig(to: directory)
      let path = "\(directory)/model.safetensors"
      try littleEndian(UInt64(17 << 20)).write(to: path)
      #expect(unsafe truncate(path, 18 << 20) == 0)  // sparse: 18 MB on paper
      expectRefusal(.format, "17825792 bytes of JSON", path) { _ = try Checkpoint.open(directory) }
    }
  }

  @Test func `a header that is no object of tensors`() throws {
    for json in ["", "{", "[]", "null", "3", "{\"a\":1}", "{\"a\":null}", "\u{0}", "{} {}"] {
      try withTemporaryDirectory { directory in
        try model.writeConfig(to: directory)
        let bytes = littleEndian(UInt64(json.utf8.count)) + Array(json.utf8)
        try bytes.write(to: "\(directory)/model.safetensors")
        do {
          _ = try Checkpoint.open(directory)
          Issue.record("accepted: \(json)")
        } catch is GemmaError {}
      }
    }
  }

  @Test(arguments: [
    "{\"dtype\":\"F32\",\"shape\":[32]}", "{\"dtype\":\"F32\",\"data_offsets\":[0,128]}",
    "{\"shape\":[32],\"data_offsets\":[0,128]}",
    "{\"dtype\":\"F32\",\"shape\":32,\"data_offsets\":[0,128]}",
    "{\"dtype\":\"F32\",\"shape\":[32],\"data_offsets\":[0]}",
    "{\"dtype\":\"F32\",\"shape\":[32],\"data_offsets\":[0,64,128]}",
    "{\"dtype\":\"F32\",\"shape\":[32],\"data_offsets\":[128,0]}",
    "{\"dtype\":\"F32\",\"shape\":[32],\"data_offsets\":[-128,0]}",
    "{\"dtype\":\"F32\",\"shape\":[32],\"data_offsets\":[0,9223372036854775807]}",
    "{\"dtype\":\"F32\",\"shape\":[33],\"data_offsets\":[0,128]}",
    "{\"dtype\":\"F32\",\"shape\":[-32],\"data_offsets\":[0,128]}",
    "{\"dtype\":\"F32\",\"shape\":[9223372036854775807,2],\"data_offsets\":[0,128]}",
    "{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}",
    "{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,32],\"data_offsets\":[0,128]}",
  ])
  func `a malformed entry is refused by the tensor's name`(entry: String) throws {
    try refuse(.format, "model.embed_tokens.weight") {
      $0.claimedEntries["model.embed_tokens.weight"] = entry
    }
  }

  @Test(arguments: [
    "{\"dtype\":1,\"shape\":[32],\"data_offsets\":[0,128]}",
    "{\"dtype\":\"F32\",\"shape\":[\"32\"],\"data_offsets\":[0,128]}",
    "{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,128]}",
    "{\"dtype\":\"F32\",\"shape\":[true],\"data_offsets\":[0,128]}",
  ])
  func `a field of another type is refused by the tensor's name`(entry: String) throws {
    try refuse(.config, "model.embed_tokens.weight") {
      $0.claimedEntries["model.embed_tokens.weight"] = entry
    }
  }

  @Test func `tensors that overlap, gaps, and bytes of no tensor`() throws {
    // embed_tokens has 12 × 32 × 2 = 768 bytes, norm after it 128.
    let norm = "{\"dtype\":\"F32\",\"shape\":[32],\"data_offsets\":[764,892]}"
    try refuse(.format, "model.norm.weight") { $0.claimedEntries["model.norm.weight"] = norm }
    try refuse(.format, "768 bytes before tensor model.norm.weight belong to no tensor") {
      $0.claimedEntries["model.embed_tokens.weight"] =
        "{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}"
    }
    try withTemporaryDirectory { directory in
      try model.writeConfig(to: directory)
      try (model.safetensors.bytes + [0]).write(to: "\(directory)/model.safetensors")
      expectRefusal(.format, "1 bytes after tensor", "belong to no tensor") {
        _ = try Checkpoint.open(directory)
      }
    }
  }

  @Test func `a file cut short is refused`() throws {
    try withTemporaryDirectory { directory in
      try model.writeConfig(to: directory)
      let path = "\(directory)/model.safetensors"
      let bytes = model.safetensors.bytes
      for end in [1, 7, 8, 9, 100, 1000, bytes.count - 1] {
        try Array(bytes[..<end]).write(to: path)
        expectRefusal(.format, path) { _ = try Checkpoint.open(directory) }
      }
    }
  }

  @Test func `an unsupported type is refused by name only where it is needed`() throws {
    try refuse(.unsupported, "model.norm.weight has type F64") {
      $0.tensors[1].type = "F64"
      $0.tensors[1].bytes += $0.tensors[1].bytes
    }
    var builder = model.safetensors
    builder.tensors.append(
      .init(name: "model.vision_tower.steps", type: "I64", shape: [], bytes: Array(0..<8))
    )
    builder.tensors.append(
      .init(name: "model.vision_tower.none", type: "U8", shape: [0], bytes: [])
    )
    try withTemporaryDirectory { directory in
      try model.writeConfig(to: directory)
      try builder.write(to: "\(directory)/model.safetensors")
      let ignored = try Checkpoint.open(directory).ignoredTensors
      #expect(ignored.map(\.name) == ["model.vision_tower.none", "model.vision_tower.steps"])
    }
  }

  // MARK: Files of a directory

  @Test func `missing files are named`() throws {
    try withTemporaryDirectory { directory in
      expectRefusal(.file, "config.json") { _ = try Checkpoint.open(directory) }
      try model.writeConfig(to: directory)
      expectRefusal(.file, "no model.safetensors") { _ = try Checkpoint.open(directory) }
      try model.safetensors.write(to: "\(directory)/weights.safetensors")
      #expect(try Checkpoint.open(directory).weights.count == 28)
      try model.safetensors.write(to: "\(directory)/more.safetensors")
      expectRefusal(.file, "none says which to use") { _ = try Checkpoint.open(directory) }
    }
  }

  @Test func `a safetensors file by itself is refused with advice`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/model.safetensors"
      try model.safetensors.write(to: path)
      expectRefusal(.unsupported, "give the directory", path) { _ = try Checkpoint.open(path) }
    }
  }

  /// Writes the model in two shards with this index, and opens it.
  private func openShards(
    _ change: (inout [String: Any], inout [SafetensorsBuilder]) -> Void
  ) throws -> Checkpoint {
    var shards = [SafetensorsBuilder(), SafetensorsBuilder()]
    var map: [String: Any] = [:]
    for (index, tensor) in model.safetensors.tensors.enumerated() {
      shards[index % 2].tensors.append(tensor)
      map[tensor.name] = "model-\(index % 2).safetensors"
    }
    change(&map, &shards)
    return try withTemporaryDirectory { directory in
      try model.writeConfig(to: directory)
      for (index, shard) in shards.enumerated() {
        try shard.write(to: "\(directory)/model-\(index).safetensors")
      }
      let json = try JSONSerialization.data(withJSONObject: ["weight_map": map])
      try Array(json).write(to: "\(directory)/model.safetensors.index.json")
      return try Checkpoint.open(directory)
    }
  }

  @Test func `shards give the same model as one file`() throws {
    let sharded = try openShards { _, _ in }
    let single = try openModel(model)
    #expect(try sharded.fingerprint() == single.fingerprint())
    for weight in single.weights {
      #expect(try contents(sharded, weight.name) == contents(single, weight.name))
    }
  }

  @Test func `a missing shard, and a tensor in no shard or in two, are named`() throws {
    expectRefusal(.file, "model-9.safetensors is missing") {
      _ = try openShards { map, _ in map["model.norm.weight"] = "model-9.safetensors" }
    }
    expectRefusal(.tensor, "model.norm.weight is not in shard model-0.safetensors") {
      _ = try openShards { map, _ in map["model.norm.weight"] = "model-0.safetensors" }
    }
    expectRefusal(.tensor, "model.other.weight is not in shard") {
      _ = try openShards { map, _ in map["model.other.weight"] = "model-0.safetensors" }
    }
    expectRefusal(.format, "model.norm.weight stands in model-0") {
      _ = try openShards { _, shards in shards[0].tensors.append(shards[1].tensors[0]) }
    }
    expectRefusal(.format, "weight_map") { _ = try openShards { map, _ in map = [:] } }
  }

  @Test(arguments: [
    "../model-0.safetensors", "/etc/model-0.safetensors", "./model-0.safetensors",
    "model-0.safetensors/../model-0.safetensors", "", "..", "model-0", "a\0.safetensors",
  ])
  func `a shard's name that leads elsewhere is refused`(name: String) throws {
    expectRefusal(.format, "model.norm.weight", "names no") {
      _ = try openShards { map, _ in map["model.norm.weight"] = name }
    }
  }

  @Test func `a shard's name that is no string is refused`() throws {
    expectRefusal(.config, "model.norm.weight") {
      _ = try openShards { map, _ in map["model.norm.weight"] = 3 }
    }
  }
}
