// A model on disk, whatever its format: its config, and its weights by canonical name.

package import Compute
package import Content
import Foundation
package import ModelFiles
internal import Platform

/// An opened model file or directory.
///
/// Opening reads headers only. Weights are mapped when they are requested, so a process with some
/// of the layers touches only their bytes.
package final class Checkpoint: WeightSource, Sendable {
  package enum Format: String, Sendable {
    case gguf
    case huggingFace
  }

  /// A weight the model uses, and where it is stored.
  package struct Weight: Sendable {
    package var name: WeightName
    package var tensor: StoredTensor
    /// The element type; files with other types are refused.
    package var type: TensorType
  }

  package let path: String
  /// What the model calls itself; the directory's name if it does not.
  package let name: String
  package let format: Format
  package let config: ModelConfig
  /// The identity that was given when the model was opened; nil if its files hold all of it.
  let identity: Identity?
  /// The file's metadata, for the tokenizer; nil for a directory.
  package let gguf: GGUFFile?
  /// The weights in use, in the order of `ModelConfig.neededWeights`.
  package let weights: [Weight]
  /// Tensors that the text model does not use: encoders for images and sound, and keys of layers
  /// that share those of another.
  package let ignoredTensors: [StoredTensor]

  private let weightOfName: [String: Weight]
  /// The bytes that somebody holds.
  private let held = Lock<[WeightRef: HeldBytes]>([:])

  private struct HeldBytes {
    weak var bytes: WeightBytes?
  }

  /// The name and fingerprint of a model of which this machine has only a part.
  package struct Identity: Sendable, Hashable {
    package var name: String
    package var fingerprint: Digest

    package init(name: String, fingerprint: Digest) {
      self.name = name
      self.fingerprint = fingerprint
    }
  }

  /// Opens a `.gguf` file, the first of a model in parts, or a directory in Hugging Face layout.
  ///
  /// - Parameters:
  ///   - path: The file or directory.
  ///   - identity: Its name and fingerprint if the files lack some of the tensors; nil to compute
  ///     them from the files.
  /// - Returns: The model, whose headers have been read.
  /// - Throws: `GemmaError` if a file is missing or malformed, the model is of an unknown kind, or
  ///   a tensor is missing or has another shape than the config says.
  package static func open(
    _ path: String,
    as identity: Identity? = nil
  ) throws(GemmaError) -> Checkpoint {
    switch try ModelPath(path) {
    case .gguf(let path): return try Checkpoint(GGUFFile.open(path), path: path, identity)
    case .huggingFace(let path): return try Checkpoint(HuggingFaceDirectory.open(path), identity)
    }
  }

  private init(_ file: GGUFFile, path: String, _ identity: Identity?) throws(GemmaError) {
    self.path = path
    format = .gguf
    gguf = file
    try file.checkIsModel()
    let ownName = try file.string("general.name") ?? (path as NSString).lastPathComponent
    name = identity?.name ?? ownName
    var config = try ModelConfig(gguf: file)
    config.hasOwnHead = file.tensors.contains { $0.name == WeightName.model(.head).gguf.name }
    self.config = config
    let inventory = try Inventory(config, gguf: file)
    // A part of a model has been checked where the whole is, and may lack the bytes.
    if identity == nil { try Checkpoint.checkRotation(file, config) }
    try Checkpoint.refuseUnknown(inventory.ignored, config, .gguf)
    weights = inventory.weights
    ignoredTensors = inventory.ignored
    weightOfName = inventory.weightOfName
    self.identity = identity
  }

  private init(_ directory: HuggingFaceDirectory, _ identity: Identity?) throws(GemmaError) {
    path = directory.path
    format = .huggingFace
    gguf = nil
    name =
      identity?.name
      ?? URL(fileURLWithPath: directory.path).standardizedFileURL.lastPathComponent
    var config = try ModelConfig(
      huggingFace: directory.config,
      generation: directory.generationConfig
    )
    config.hasOwnHead = try directory.hasOwnHead()
    self.config = config
    let inventory = try Inventory(config, directory)
    try Checkpoint.refuseUnknown(inventory.ignored, config, .huggingFace)
    weights = inventory.weights
    ignoredTensors = inventory.ignored
    weightOfName = inventory.weightOfName
    self.identity = identity
  }

  /// The bytes of the weights in use.
  package var totalByteCount: Int { weights.reduce(0) { $0 + $1.tensor.byteCount } }

  package func has(_ name: WeightName) -> Bool { weightOfName[name.canonical] != nil }

  /// Returns a weight as a program names it, with the type it is stored in.
  ///
  /// A vector is one row. Without `rows`, all are taken.
  ///
  /// - Throws: `GemmaError.tensor` if the model has no such weight or not those rows.
  package func weight(
    _ name: WeightName,
    rows: Range<Int>? = nil
  ) throws(GemmaError) -> WeightRef {
    let weight = try find(name.canonical)
    let rows = rows ?? 0..<weight.tensor.rowCount
    try check(rows, of: weight)
    return WeightRef(
      name: name.canonical,
      rows: rows,
      columns: weight.tensor.columnCount,
      type: weight.type
    )
  }

  /// Whoever asks while another holds the same bytes gets those, at the same address: so backends know what they have
  /// prepared before (`Backend.compile`).
  package func bytes(of ref: WeightRef) throws -> WeightBytes {
    if let known = held.withLock({ $0[ref]?.bytes }) { return known }
    let bytes = try mapped(ref)
    held.withLock { $0[ref] = HeldBytes(bytes: bytes) }
    return bytes
  }

  private func mapped(_ ref: WeightRef) throws -> WeightBytes {
    let weight = try find(ref.name)
    let tensor = weight.tensor
    guard ref.columns == tensor.columnCount, ref.type == weight.type else {
      throw GemmaError(
        .tensor,
        "\(ref.name) has \(tensor.columnCount) columns of \(weight.type), not"
          + " \(ref.columns) of \(ref.type)",
        context: path
      )
    }
    try check(ref.rows, of: weight)
    let rowByteCount = tensor.byteCount / tensor.rowCount
    let offset = tensor.offset + ref.rows.lowerBound * rowByteCount
    let region = try tensor.file.region(offset: offset, count: ref.rows.count * rowByteCount)
    guard offset.isMultiple(of: weight.type == .f32 ? 4 : 2) else {
      return unsafe AlignedCopy(region.bytes).weightBytes
    }
    return unsafe WeightBytes(
      bytes: region.bytes,
      owner: region,
      whenLetGo: { region.discardPages() }
    )
  }

  func check(_ rows: Range<Int>, of weight: Weight) throws(GemmaError) {
    guard rows.lowerBound >= 0, rows.upperBound <= weight.tensor.rowCount else {
      throw GemmaError(
        .tensor,
        "\(weight.name.canonical) has \(weight.tensor.rowCount) rows, not \(rows)",
        context: path
      )
    }
  }

  func find(_ name: String) throws(GemmaError) -> Weight {
    guard let weight = weightOfName[name] else {
      throw GemmaError(.tensor, "the model has no weight \(name)", context: path)
    }
    return weight
  }
}

/// A copy of bytes that are not aligned in the file, because safetensors does not guarantee
/// alignment.
///
/// Kernels rely on the alignment of the element type, so such a tensor is copied.
// Sendable: the memory is written in init only.
@safe private final class AlignedCopy: @unchecked Sendable {
  private let memory: UnsafeMutableRawBufferPointer

  init(_ bytes: UnsafeRawBufferPointer) {
    unsafe memory = .allocate(byteCount: bytes.count, alignment: 64)
    unsafe memory.copyMemory(from: bytes)
  }

  deinit { unsafe memory.deallocate() }

  var weightBytes: WeightBytes {
    unsafe WeightBytes(bytes: UnsafeRawBufferPointer(memory), owner: self)
  }
}
