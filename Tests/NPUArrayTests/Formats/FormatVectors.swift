// Published words of configurations and control code (Tests/Goldens/npu).

import Foundation
import TestSupport
import Testing

/// An entry of txn_cdo_vectors.json.
struct FormatVector: Decodable, Sendable {
  var group: String
  var name: String
  var words: [String]

  static let all: [FormatVector] = {
    struct File: Decodable { var vectors: [FormatVector] }
    let path = Goldens.directory.appending(path: "npu/txn_cdo_vectors.json")
    guard let data = try? Data(contentsOf: path),
      let file = try? JSONDecoder().decode(File.self, from: data)
    else { return [] }
    return file.vectors
  }()

  /// The words of an entry whose name begins so.
  static func words(_ group: String, _ name: String) throws -> [UInt32] {
    let entry = all.first { $0.group == group && $0.name.hasPrefix(name) }
    return try #require(entry, "\(group): \(name)").words.map {
      try #require(UInt32($0.dropFirst(2), radix: 16))
    }
  }
}
