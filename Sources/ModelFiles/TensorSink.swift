// Where a writer's tensors put their bytes: in one piece or in many, never more or fewer than their shape
// says, so that no file of weights must fit into memory.

/// What takes the bytes of one tensor.
package struct TensorSink {
  /// Writes the bytes of a tensor, front to back.
  package typealias Content = (inout TensorSink) throws -> Void

  private let file: NewFile
  private let name: String
  private let byteCount: Int
  /// The bytes that are still to come.
  package private(set) var left: Int

  /// What is copied at once.
  private static let pieceByteCount = 1 << 20

  /// Writes a tensor.
  ///
  /// - Parameters:
  ///   - name: The tensor's name, for errors.
  ///   - byteCount: How many bytes it has.
  ///   - file: Where they go.
  ///   - content: Gives them.
  /// - Throws: What `content` throws, `ModelFilesError.tensor` if it gives too many or too few, `.file` if
  ///   they cannot be written.
  static func write(
    _ name: String,
    byteCount: Int,
    to file: NewFile,
    _ content: Content
  ) throws {
    var sink = TensorSink(file: file, name: name, byteCount: byteCount, left: byteCount)
    try content(&sink)
    guard sink.left == 0 else {
      throw sink.mismatch("\(byteCount - sink.left) were written")
    }
  }

  /// Takes the next bytes.
  ///
  /// - Throws: `ModelFilesError.tensor` if the tensor has no more, `.file` if they cannot be written.
  package mutating func append(_ bytes: [UInt8]) throws(ModelFilesError) {
    try take(bytes.count)
    try file.append(bytes)
  }

  /// Takes the next bytes.
  ///
  /// - Throws: As for an array.
  package mutating func append(_ bytes: UnsafeRawBufferPointer) throws(ModelFilesError) {
    try take(bytes.count)
    try unsafe file.append(bytes)
  }

  /// Takes all bytes of a tensor as another file has them.
  ///
  /// - Throws: As for an array, and `ModelFilesError.file` if the other file cannot be read.
  package mutating func append(_ tensor: StoredTensor) throws(ModelFilesError) {
    var done = 0
    while done < tensor.byteCount {
      let count = min(Self.pieceByteCount, tensor.byteCount - done)
      try append(try tensor.file.read(offset: tensor.offset + done, count: count))
      done += count
    }
  }

  private mutating func take(_ count: Int) throws(ModelFilesError) {
    guard count <= left else { throw mismatch("\(byteCount - left + count) or more were written") }
    left -= count
  }

  private func mismatch(_ what: String) -> ModelFilesError {
    ModelFilesError(
      .tensor,
      "tensor \(name) has \(byteCount) bytes by its shape and type, but \(what)",
      context: file.path
    )
  }
}
