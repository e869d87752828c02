// Writes the file: a tensor at a time, a few rows of it at once, so that the memory does not grow with the model.

internal import Compute
package import Gemma
internal import ModelFiles

/// A GGUF file in the making, from a model and the type of each tensor.
package struct QuantizedFile {
  private let metadata: [(key: String, value: GGUFMetadataValue)]
  package let choices: [TensorChoice]
  private let importance: Importance?
  private let threads: Int

  /// - Parameters:
  ///   - checkpoint: The source.
  ///   - choices: The types of `checkpoint.ggufTensors`.
  ///   - importance: What errors cost in each column; nil if the same in all.
  ///   - threads: How many threads encode.
  /// - Throws: What is wrong with the source's tokenizer or chat template.
  package init(
    _ checkpoint: Checkpoint,
    _ choices: [TensorChoice],
    importance: Importance?,
    threads: Int
  ) throws {
    self.choices = choices
    self.importance = importance
    self.threads = threads
    var metadata = try checkpoint.ggufMetadata().filter { !$0.key.hasPrefix("quantize.imatrix.") }
    metadata.append(("general.quantization_version", .uint32(Self.quantizationVersion)))
    metadata.append(("general.file_type", .uint32(Self.fileType(choices))))
    if let importance {
      // As llama-quantize names them.
      metadata.append(("quantize.imatrix.file", .string(importance.name)))
      metadata.append(("quantize.imatrix.dataset", .string(importance.dataset)))
      metadata.append(
        ("quantize.imatrix.entries_count", .uint32(UInt32(clamping: importance.count)))
      )
      metadata.append(
        ("quantize.imatrix.chunks_count", .uint32(UInt32(clamping: importance.chunkCount)))
      )
    }
    self.metadata = metadata
  }

  /// GGML_QNT_VERSION of ggml/include/ggml.h.
  private static let quantizationVersion: UInt32 = 2

  /// Returns the number by which readers call the mix: that of the type that most bytes have (`llama_ftype` in
  /// include/llama.h).
  private static func fileType(_ choices: [TensorChoice]) -> UInt32 {
    var bytes: [TensorType: Int] = [:]
    for choice in choices { bytes[choice.type, default: 0] += choice.byteCount }
    let type = bytes.max { ($0.value, $0.key.number) < ($1.value, $1.key.number) }?.key ?? .f32
    return switch type {
    case .f32: 0
    case .f16: 1
    case .q4_0: 2
    case .q4_1: 3
    case .q8_0: 7
    case .q5_0: 8
    case .q5_1: 9
    case .q2_K: 10
    case .q3_K: 12
    case .q4_K: 15
    case .q5_K: 17
    case .q6_K: 18
    case .iq4_nl: 25
    case .iq4_xs: 30
    case .bf16: 32
    }
  }

  /// What the file takes besides its tensors, at most.
  package var overheadByteCount: Int { writer { _, _ in }.overheadByteCount }

  private func writer(
    _ put: @escaping (TensorChoice, inout TensorSink) throws -> Void
  ) -> GGUFWriter {
    var writer = GGUFWriter()
    writer.metadata = metadata
    writer.tensors = choices.map { choice in
      GGUFWriter.Tensor(
        choice.tensor.name,
        shape: choice.tensor.shape,
        type: GGUFTensorType(choice.type)
      ) { sink in
        try put(choice, &sink)
      }
    }
    return writer
  }

  /// The bytes of all tensors.
  package var byteCount: Int { choices.reduce(0) { $0 + $1.byteCount } }

  /// Writes the file and replaces what is at the path, once all of it is on disk.
  ///
  /// - Parameters:
  ///   - path: Where to.
  ///   - progress: Called with the fraction that is written; what it throws ends the writing.
  /// - Returns: The error of each tensor, in the order of the choices; nil where bytes are copied.
  /// - Throws: `QuantizationError.values` that names the tensor, and what reading and writing throw. Then what was
  ///   at the path is there still.
  package func write(
    to path: String,
    progress: @escaping (Double) throws -> Void
  ) throws -> [EncodingError?] {
    let tally = Tally(total: choices.reduce(0) { $0 + $1.tensor.elementCount }, progress)
    let writer = writer { choice, sink in
      tally.errors.append(try put(choice, into: &sink, tally))
    }
    try writer.write(to: path)
    return tally.errors
  }

  /// What has been written so far.
  private final class Tally {
    var errors: [EncodingError?] = []
    private var done = 0
    private let total: Int
    private let progress: (Double) throws -> Void

    init(total: Int, _ progress: @escaping (Double) throws -> Void) {
      self.total = total
      self.progress = progress
    }

    func add(_ elementCount: Int) throws {
      done += elementCount
      try progress(Double(done) / Double(max(total, 1)))
    }
  }

  /// What a thread decodes and encodes at once: 1 MB of f32, which stays in a core's cache.
  private static let partElementCount = 1 << 18
  /// The parts of each thread between two writes.
  private static let partsAtOnce = 4

  /// Writes one tensor and returns its error; nil if its bytes are copied.
  private func put(
    _ choice: TensorChoice,
    into sink: inout TensorSink,
    _ tally: Tally
  ) throws -> EncodingError? {
    let tensor = choice.tensor
    if let copy = tensor.copy, copy.type == choice.type {
      try sink.append(copy)
      try tally.add(tensor.elementCount)
      return nil
    }
    let partRows = max(1, Self.partElementCount / max(tensor.columnCount, 1))
    let rowsAtOnce = partRows * Self.partsAtOnce * threads
    var error = EncodingError()
    for (matrix, rows) in tensor.pieces(of: 0..<tensor.rowCount) {
      let encoder = RowEncoder(
        choice.type,
        columns: tensor.columnCount,
        importance: importance?.columns(of: tensor, matrix: matrix),
        threads: 1
      )
      for first in stride(from: rows.lowerBound, to: rows.upperBound, by: rowsAtOnce) {
        let end = min(first + rowsAtOnce, rows.upperBound)
        let partCount = (end - first + partRows - 1) / partRows
        let parts = try concurrentMap(partCount, threads: threads) { part in
          let start = first + part * partRows
          let values = try tensor.values(rows: start..<min(start + partRows, end))
          return try encoder.encode(values, of: tensor.name)
        }
        for part in parts {
          error += part.error
          try sink.append(part.bytes)
        }
        try tally.add((end - first) * tensor.columnCount)
      }
    }
    return error
  }
}
