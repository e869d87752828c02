// Copies of a model directory with one tensor changed or added, as in faulty files of users.

import Foundation

/// Copies model directories with other tensors.
enum ChangedModel {
  /// Writes a copy of a directory in Hugging Face layout, with changed values in its only weights
  /// file.
  ///
  /// - Parameters:
  ///   - original: The directory.
  ///   - directory: The copy; it must not exist yet.
  ///   - tensor: The tensor to change, with its name in the file; it is bf16.
  ///   - name: The name of the changed tensor, if it is added beside the original.
  ///   - change: Changes the bits of a value.
  /// - Throws: `ProcessError` if the file has no such tensor.
  static func write(
    _ original: URL,
    to directory: String,
    tensor: String,
    addedAs name: String? = nil,
    _ change: (inout [UInt16]) -> Void
  ) throws {
    let files = FileManager.default
    try files.createDirectory(atPath: directory, withIntermediateDirectories: false)
    for file in try files.contentsOfDirectory(atPath: original.path)
    where file.hasSuffix(".json") {
      let source = original.appending(path: file).path
      try files.copyItem(atPath: source, toPath: "\(directory)/\(file)")
    }
    let bytes = [UInt8](try Data(contentsOf: original.appending(path: "model.safetensors")))
    let headerCount = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    let header = try JSONSerialization.jsonObject(with: Data(bytes[8..<(8 + headerCount)]))
    var data = Array(bytes[(8 + headerCount)...])
    guard var entries = header as? [String: Any], let entry = entries[tensor] as? [String: Any],
      let place = entry["data_offsets"] as? [Int], entry["dtype"] as? String == "BF16"
    else { throw ProcessError(description: "\(original.path) has no bf16 tensor \(tensor)") }
    var bits = stride(from: place[0], to: place[1], by: 2).map {
      UInt16(data[$0]) | UInt16(data[$0 + 1]) << 8
    }
    change(&bits)
    let changed = bits.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
    if let name {
      var added = entry
      added["data_offsets"] = [data.count, data.count + changed.count]
      entries[name] = added
      data += changed
    } else {
      data.replaceSubrange(place[0]..<place[1], with: changed)
    }
    let json = [UInt8](try JSONSerialization.data(withJSONObject: entries))
    let length = (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) }
    try Data(length + json + data).write(to: URL(filePath: "\(directory)/model.safetensors"))
  }
}
