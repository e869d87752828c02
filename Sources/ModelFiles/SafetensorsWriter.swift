// Writes a safetensors file. Its layout is drawn in SafetensorsFile.swift
// (https://github.com/huggingface/safetensors, "Format"); what the reader would refuse is not written.

/// A safetensors file to be written, whose tensors give their bytes when it is their turn.
package struct SafetensorsWriter {
  /// A tensor: what the header says of it, and where its bytes come from.
  package struct Tensor {
    package var name: String
    /// Outermost dimension first.
    package var shape: [Int]
    /// As the format spells it, for example `BF16`.
    package var type: String
    package var content: TensorSink.Content

    package init(
      _ name: String,
      shape: [Int],
      type: String,
      content: @escaping TensorSink.Content
    ) {
      self.name = name
      self.shape = shape
      self.type = type
      self.content = content
    }

    /// A tensor of another file as it is.
    package init(copying tensor: StoredTensor) {
      self.init(tensor.name, shape: tensor.shape, type: tensor.typeName) { try $0.append(tensor) }
    }
  }

  /// What the file says of itself, for example `format`: `pt`, which transformers asks for.
  package var metadata: [String: String] = [:]
  /// In any order: the file's own follows from their types and names.
  package var tensors: [Tensor] = []

  /// Bytes of an element (safetensors/src/tensor.rs, `Dtype`).
  private static let elementByteCounts = [
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2,
    "U16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
  ]

  package init() {}

  /// Writes the file and replaces what is at the path, once all of it is on disk.
  ///
  /// Wider elements come first, and the header is filled up with spaces to a multiple of eight bytes, as the
  /// reference does (safetensors/src/tensor.rs, `prepare`): so each tensor lies at a multiple of its
  /// element's size.
  ///
  /// - Throws: `ModelFilesError.tensor` or `.config` if a name, shape or type is none of the format's or a
  ///   tensor gives another number of bytes than its shape says, `.file` if the system fails, and what the
  ///   tensors' contents throw. Then what was at the path is there still.
  package func write(to path: String) throws {
    var ordered: [(tensor: Tensor, width: Int, byteCount: Int)] = []
    var names: Set<String> = []
    for tensor in tensors {
      guard tensor.name != SafetensorsFile.metadataKey, names.insert(tensor.name).inserted else {
        throw ModelFilesError(
          .tensor,
          "tensor \(tensor.name) stands twice, or has the name of the metadata",
          context: path
        )
      }
      let width = try Self.width(of: tensor, path)
      ordered.append((tensor, width, try Self.byteCount(of: tensor, width, path)))
    }
    ordered.sort { ($1.width, $0.tensor.name) < ($0.width, $1.tensor.name) }
    let header = header(ordered.map { ($0.tensor, $0.byteCount) })
    guard header.count <= JSONObject.byteCountLimit else {
      throw ModelFilesError(
        .config,
        "a header of \(header.count) bytes; at most \(JSONObject.byteCountLimit) are read",
        context: path
      )
    }
    let file = try NewFile(replacing: path)
    try file.append((0..<8).map { UInt8(truncatingIfNeeded: header.count >> ($0 * 8)) })
    try file.append(header)
    for (tensor, _, byteCount) in ordered {
      try TensorSink.write(tensor.name, byteCount: byteCount, to: file, tensor.content)
    }
    try file.commit()
  }

  private func header(_ tensors: [(tensor: Tensor, byteCount: Int)]) -> [UInt8] {
    var members: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.sorted { $0.key < $1.key }.map { "\($0.key.json):\($0.value.json)" }
      members.append("\(SafetensorsFile.metadataKey.json):{\(pairs.joined(separator: ","))}")
    }
    var offset = 0
    for (tensor, byteCount) in tensors {
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      members.append(
        "\(tensor.name.json):{\"dtype\":\(tensor.type.json),\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(offset),\(offset + byteCount)]}"
      )
      offset += byteCount
    }
    let json = Array("{\(members.joined(separator: ","))}".utf8)
    let width = SafetensorsFile.lengthByteCount
    let padding = (width - json.count % width) % width
    return json + [UInt8](repeating: UInt8(ascii: " "), count: padding)
  }

  private static func width(of tensor: Tensor, _ path: String) throws(ModelFilesError) -> Int {
    guard let width = elementByteCounts[tensor.type] else {
      let known = elementByteCounts.keys.sorted().joined(separator: ", ")
      throw ModelFilesError(
        .unsupported,
        "tensor \(tensor.name) has type \(tensor.type); safetensors knows \(known)",
        context: path
      )
    }
    return width
  }

  private static func byteCount(
    of tensor: Tensor,
    _ width: Int,
    _ path: String
  ) throws(ModelFilesError) -> Int {
    let (bytes, overflow) =
      elementCount(tensor.shape)?.multipliedReportingOverflow(by: width) ?? (0, true)
    guard !overflow, tensor.shape.count <= SafetensorsFile.rankLimit else {
      throw ModelFilesError(
        .tensor,
        "tensor \(tensor.name) has shape \(tensor.shape)",
        context: path
      )
    }
    return bytes
  }
}

extension String {
  /// The text as JSON has it, in quotes (RFC 8259, section 7).
  fileprivate var json: String {
    var result = "\""
    for scalar in unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\u{0}"..<"\u{20}":
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
