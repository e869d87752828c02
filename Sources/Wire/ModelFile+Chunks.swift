// The pieces that a model's files are sent in, and how Pull and Chunk name one.

package import Content

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

extension ModelFile {
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

extension Pull {
  /// Asks for a piece of a model's file.
  package init(model: Digest, id: ChunkID) {
    self.init(model: model, file: id.file, chunk: id.chunk, ofDigests: id.isOfDigests)
  }

  /// The piece that is asked for.
  package var id: ChunkID { ChunkID(file: file, chunk: chunk, isOfDigests: ofDigests) }
}

extension Chunk {
  /// Holds a piece of a model's file.
  package init(id: ChunkID, data: [UInt8], receipt: UInt64) {
    self.init(
      file: id.file,
      chunk: id.chunk,
      ofDigests: id.isOfDigests,
      data: data,
      receipt: receipt
    )
  }

  /// The piece that this is.
  package var id: ChunkID { ChunkID(file: file, chunk: chunk, isOfDigests: ofDigests) }
}
