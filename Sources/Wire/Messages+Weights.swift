// Weights for workers that have no model file: what the coordinator serves, and pieces of its files.
// proto/trestle.proto says what answers what.

package import Content

/// A file of the model that is served.
package struct ModelFile: Sendable, Hashable {
  /// In the model's directory; no path, or else whoever reads it must refuse it.
  package var name: String
  package var size: UInt64
  /// From its start: what says where the tensors are; all of a JSON file.
  package var headerBytes: UInt64
  /// Of each piece of its list of digests.
  package var digests: [Digest]

  package init(name: String, size: UInt64, headerBytes: UInt64, digests: [Digest]) {
    self.name = name
    self.size = size
    self.headerBytes = headerBytes
    self.digests = digests
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

  /// How many pieces its list of digests is sent in.
  package var digestChunkCount: Int {
    (chunkCount + Limits.digestsPerChunk - 1) / Limits.digestsPerChunk
  }

  /// Returns the bytes of a piece of its list of digests.
  ///
  /// - Precondition: `chunk` is one of `digestChunkCount`.
  package func range(ofDigestChunk chunk: Int) -> Range<Int> {
    precondition(
      (0..<digestChunkCount).contains(chunk),
      "chunk \(chunk) of \(digestChunkCount) of digests"
    )
    let start = chunk * Limits.chunkBytes
    return start..<min(chunkCount * Digest.byteCount, start + Limits.chunkBytes)
  }

  /// Whether it has a piece.
  package func holds(_ id: ChunkID) -> Bool {
    (0..<(id.isOfDigests ? digestChunkCount : chunkCount)).contains(id.chunk)
  }

  /// Returns the bytes of a piece, of the file or of its list of digests.
  ///
  /// - Precondition: The file `holds` it.
  package func range(of id: ChunkID) -> Range<Int> {
    id.isOfDigests ? range(ofDigestChunk: id.chunk) : range(ofChunk: id.chunk)
  }
}

/// A piece of a file of a model, or of the file's list of digests.
package struct ChunkID: Sendable, Hashable, Comparable {
  /// Index in the description.
  package var file: Int
  /// The piece that begins at this many times `Limits.chunkBytes`.
  package var chunk: Int
  /// Of the list of digests, not of the file.
  package var isOfDigests: Bool

  package init(file: Int, chunk: Int, isOfDigests: Bool = false) {
    self.file = file
    self.chunk = chunk
    self.isOfDigests = isOfDigests
  }

  package static func < (left: ChunkID, right: ChunkID) -> Bool {
    (left.isOfDigests ? 0 : 1, left.file, left.chunk)
      < (right.isOfDigests ? 0 : 1, right.file, right.chunk)
  }
}

/// Worker → coordinator: which model is served? The first message of a worker that has none.
///
/// Answered by ModelDescription, ModelPending or PullFailed.
package struct DescribeModel: Sendable, Hashable {
  package init() {}
}

/// Coordinator → worker: answers DescribeModel while the model is read to describe it; ask again.
package struct ModelPending: Sendable, Hashable {
  /// That was read, 0 to 1.
  package var fraction: Double

  package init(fraction: Double) { self.fraction = fraction }
}

/// Coordinator → worker: answers DescribeModel.
package struct ModelDescription: Sendable, Hashable {
  /// Of all that follows, so of every byte of the files: names them in Pull.
  ///
  /// As it was sent; whoever takes it compares it with `root`.
  package var model: Digest
  /// For the worker's Hello.
  package var fingerprint: Digest
  package var name: String
  /// Opened as a directory: Hugging Face layout, or a GGUF model in parts; else `files` is one GGUF file.
  package var isDirectory: Bool
  package var files: [ModelFile]

  package init(
    model: Digest,
    fingerprint: Digest,
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

  /// Describes a model and names it by what is described.
  package init(
    fingerprint: Digest,
    name: String,
    isDirectory: Bool,
    files: [ModelFile]
  ) {
    self.init(
      model: fingerprint,
      fingerprint: fingerprint,
      name: name,
      isDirectory: isDirectory,
      files: files
    )
    model = root
  }

  /// The digest of everything but `model`: of a tree whose leaves are the files' pieces.
  package var root: Digest {
    var bytes = Array("trestle files 1\0".utf8) + fingerprint.bytes
    func add(_ number: UInt64) {
      bytes += (0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
    }
    func add(_ text: String) {
      add(UInt64(text.utf8.count))
      bytes += text.utf8
    }
    add(name)
    add(isDirectory ? 1 : 0)
    add(UInt64(files.count))
    for file in files {
      add(file.name)
      add(file.size)
      add(file.headerBytes)
      add(UInt64(file.digests.count))
      for digest in file.digests { bytes += digest.bytes }
    }
    return Digest(of: bytes)
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
  /// Its digest is in the file's list, or in the description.
  package var data: [UInt8]
  /// For PullReceipt: nobody can guess it.
  package var receipt: UInt64

  package init(id: ChunkID, data: [UInt8], receipt: UInt64) {
    self.id = id
    self.data = data
    self.receipt = receipt
  }
}

/// Worker → coordinator: these chunks have come; without that no more are sent after a few.
package struct PullReceipt: Sendable, Hashable {
  package var receipts: [UInt64]

  package init(receipts: [UInt64]) { self.receipts = receipts }
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
