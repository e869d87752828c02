// Writes safetensors files, right ones and wrong ones, from the format's description
// (https://github.com/huggingface/safetensors).

import Foundation

/// A safetensors file to be.
package struct SafetensorsBuilder {
  package struct Tensor {
    package var name: String
    package var type: String
    package var shape: [Int]
    package var bytes: [UInt8]

    package init(name: String, type: String, shape: [Int], bytes: [UInt8]) {
      self.name = name
      self.type = type
      self.shape = shape
      self.bytes = bytes
    }
  }

  package var tensors: [Tensor] = []
  /// Replaces a tensor's entry in the header, as JSON.
  package var claimedEntries: [String: String] = [:]
  package var claimedHeaderLength: UInt64?
  /// Bytes behind the header's JSON, which a writer uses to align the data.
  package var padding = ""

  package init() {}

  /// The header's JSON.
  package var json: String {
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
  package var bytes: [UInt8] {
    let json = Array(json.utf8)
    return littleEndian(claimedHeaderLength ?? UInt64(json.count)) + json
      + tensors.flatMap(\.bytes)
  }

  package func write(to path: String) throws {
    try bytes.write(to: path)
  }
}

extension [UInt8] {
  /// Writes the bytes as a file.
  package func write(to path: String) throws {
    try Data(self).write(to: URL(filePath: path))
  }
}
