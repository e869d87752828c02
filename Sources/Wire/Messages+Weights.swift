// Weights for workers that have no model file: what the coordinator serves, and pieces of its files.
// proto/trestle.proto says what answers what.

/// A file of the model that is served.
package struct ModelFile: Sendable, Hashable {
  /// In the model's directory; no path, or else whoever reads it must refuse it.
  package var name: String
  package var size: UInt64
  /// From its start: what says where the tensors are; all of a JSON file.
  package var headerBytes: UInt64

  package init(name: String, size: UInt64, headerBytes: UInt64) {
    self.name = name
    self.size = size
    self.headerBytes = headerBytes
  }

  /// How many pieces it is sent in.
  package var chunkCount: Int {
    let (whole, rest) = size.quotientAndRemainder(dividingBy: UInt64(Limits.chunkBytes))
    return Int(whole) + (rest > 0 ? 1 : 0)
  }

  /// Returns the bytes of a piece.
  ///
  /// - Precondition: `chunk` is one of `chunkCount`.
  package func range(ofChunk chunk: Int) -> Range<Int> {
    precondition((0..<chunkCount).contains(chunk), "chunk \(chunk) of \(chunkCount)")
    let start = chunk * Limits.chunkBytes
    return start..<min(Int(clamping: size), start + Limits.chunkBytes)
  }
}

/// A piece of a file of a model.
package struct ChunkID: Sendable, Hashable, Comparable {
  /// Index in the description.
  package var file: Int
  /// The piece that begins at this many times `Limits.chunkBytes`.
  package var chunk: Int

  package init(file: Int, chunk: Int) {
    self.file = file
    self.chunk = chunk
  }

  package static func < (left: ChunkID, right: ChunkID) -> Bool {
    (left.file, left.chunk) < (right.file, right.chunk)
  }
}

/// Worker → coordinator: which model is served? The first message of a worker that has none.
///
/// Answered by ModelDescription or PullFailed.
package struct DescribeModel: Sendable, Hashable {
  package init() {}
}

/// Coordinator → worker: answers DescribeModel.
package struct ModelDescription: Sendable, Hashable {
  /// Of what follows and of the headers: names these very files in Pull.
  package var model: Digest
  /// For the worker's Hello.
  package var fingerprint: UInt64
  package var name: String
  /// In Hugging Face layout; else `files` is one GGUF file.
  package var isDirectory: Bool
  package var files: [ModelFile]

  package init(
    model: Digest,
    fingerprint: UInt64,
    name: String,
    isDirectory: Bool,
    files: [ModelFile]
  ) {
    self.model = model
    self.fingerprint = fingerprint
    self.name = name
    self.isDirectory = isDirectory
    self.files = files
  }
}

/// Worker → coordinator: send a piece of a file.
///
/// Answered by Chunk or PullFailed; by nothing if there are too many, or no such piece.
package struct Pull: Sendable, Hashable {
  /// As described.
  package var model: Digest
  package var id: ChunkID

  package init(model: Digest, id: ChunkID) {
    self.model = model
    self.id = id
  }
}

/// Coordinator → worker: answers Pull.
package struct Chunk: Sendable, Hashable {
  package var id: ChunkID
  package var data: [UInt8]
  /// Of the data.
  package var digest: Digest

  package init(id: ChunkID, data: [UInt8], digest: Digest) {
    self.id = id
    self.data = data
    self.digest = digest
  }
}

/// Coordinator → worker: answers DescribeModel and Pull that cannot be served.
package struct PullFailed: Sendable, Hashable {
  package var code: FailureCode
  /// The file at fault, or that another model is served by now.
  package var message: String

  package init(code: FailureCode, message: String) {
    self.code = code
    self.message = message
  }
}
