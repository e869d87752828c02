// Writes safetensors files, right ones and wrong ones, from the format's description
// (https://github.com/huggingface/safetensors).

import Foundation

/// A safetensors file to be.
struct SafetensorsBuilder {
  struct Tensor {
    var name: String
    var type: String
    var shape: [Int]
    var bytes: [UInt8]
  }

  var tensors: [Tensor] = []
  /// Replaces a tensor's entry in the header, as JSON.
  var claimedEntries: [String: String] = [:]
  var claimedHeaderLength: UInt64?
  /// Bytes behind the header's JSON, which a writer uses to align the data.
  var padding = ""

  /// The header's JSON.
  var json: String {
    var entries = ["\"__metadata__\":{\"format\":\"pt\"}"]
    var offset = 0
    for tensor in tensors {
      let end = offset + tensor.bytes.count
      let right =
        "{\"dtype\":\"\(tensor.type)\",\"shape\":\(tensor.shape),"
        + "\"data_offsets\":[\(offset),\(end)]}"
      let entry = claimedEntries[tensor.name] ?? right
      entries.append("\"\(tensor.name)\":\(entry)")
      offset = end
    }
    return "{\(entries.joined(separator: ","))}\(padding)"
  }

  /// The whole file.
  var bytes: [UInt8] {
    let json = Array(json.utf8)
    return littleEndian(claimedHeaderLength ?? UInt64(json.count)) + json
      + tensors.flatMap(\.bytes)
  }

  func write(to path: String) throws {
    try bytes.write(to: path)
  }
}

extension [UInt8] {
  /// Writes the bytes as a file.
  func write(to path: String) throws {
    try Data(self).write(to: URL(filePath: path))
  }
}
