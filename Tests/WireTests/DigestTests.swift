// Digests, and how files are cut into pieces.

import Content
import Testing
import Wire

@Suite struct `Digests` {
  // Computed with Python's hashlib.blake2b(data, digest_size=32).
  @Test func `it is BLAKE2b of 256 bits`() {
    #expect(
      Digest(of: Array("abc".utf8)).description
        == "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"
    )
    #expect(
      Digest(of: []).description
        == "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"
    )
  }

  @Test func `it comes back from its bytes, and from no others`() {
    let digest = Digest(of: [1, 2, 3])
    #expect(Digest(bytes: digest.bytes) == digest)
    #expect(Digest(bytes: Array(digest.bytes.dropLast())) == nil)
    #expect(Digest(bytes: digest.bytes + [0]) == nil)
  }
}

@Suite struct `Pieces` {
  private struct Stopped: Error {}

  private func bytes(_ piece: FilePiece) -> [UInt8] {
    piece.bytes.map { UInt8(truncatingIfNeeded: $0 * 3 + piece.file) }
  }

  @Test(arguments: [1, 2, 7]) func `each gets its digest, on however many threads`(
    threads: Int
  ) throws {
    let pieces = FilePiece.cut(3..<1003, of: 0, size: 64) + FilePiece.cut(0..<64, of: 1, size: 64)
    #expect(pieces.count == 17)
    let digests = try unsafe Digest.all(of: pieces, threads: threads) { piece, memory in
      unsafe memory.copyBytes(from: bytes(piece))
    } progress: { _ in
    }
    #expect(
      digests
        == pieces.map { piece in
          Digest(of: bytes(piece))
        }
    )
  }

  @Test(arguments: [1, 2]) func `an error on any thread ends them all`(threads: Int) {
    let pieces = FilePiece.cut(0..<(1 << 20), of: 0, size: 16)
    #expect(throws: Stopped.self) {
      try unsafe Digest.all(of: pieces, threads: threads) { _, _ in
      } progress: { done in
        if done > 1 << 19 { throw Stopped() }
      }
    }
  }
}

@Suite struct `Model file` {
  @Test func `its pieces cover it once, the last one short`() {
    let size = 3 * Limits.chunkBytes + 5
    let file = ModelFile(name: "m", size: UInt64(size), headerBytes: 0, digests: [])
    #expect(file.chunkCount == 4)
    let ranges = (0..<4).map { file.range(ofChunk: $0) }
    #expect(
      ranges.flatMap { [$0.lowerBound, $0.upperBound] }.dropFirst().dropLast().elementsEqual(
        (1...3).flatMap { [$0 * Limits.chunkBytes, $0 * Limits.chunkBytes] }
      )
    )
    #expect(ranges[0].lowerBound == 0 && ranges[3].upperBound == size)
    #expect(ModelFile(name: "m", size: 0, headerBytes: 0, digests: []).chunkCount == 0)
    let whole = ModelFile(name: "m", size: UInt64(Limits.chunkBytes), headerBytes: 0, digests: [])
    #expect(whole.chunkCount == 1)
    #expect(whole.range(ofChunk: 0) == 0..<Limits.chunkBytes)
  }

  @Test func `its list of digests is cut as it is itself`() {
    #expect(Limits.digestsPerChunk * Digest.byteCount == Limits.chunkBytes)
    let pieces = 2 * Limits.digestsPerChunk + 3
    let size = UInt64(pieces - 1) * UInt64(Limits.chunkBytes) + 1
    let file = ModelFile(name: "m", size: size, headerBytes: 0, digests: [])
    #expect(file.chunkCount == pieces && file.digestChunkCount == 3)
    #expect(file.range(ofDigestChunk: 1) == Limits.chunkBytes..<(2 * Limits.chunkBytes))
    #expect(file.range(ofDigestChunk: 2).count == 3 * Digest.byteCount)
    #expect(file.holds(ChunkID(file: 0, chunk: pieces - 1)))
    #expect(!file.holds(ChunkID(file: 0, chunk: pieces)))
    #expect(file.holds(ChunkID(file: 0, chunk: 2, isOfDigests: true)))
    #expect(!file.holds(ChunkID(file: 0, chunk: 3, isOfDigests: true)))
  }
}

@Suite struct `Model description` {
  @Test func `whatever is described decides its digest`() {
    let file = ModelFile(name: "m", size: 10, headerBytes: 2, digests: [Digest(of: [1])])
    let described = ModelDescription(
      fingerprint: Digest(of: [7]),
      name: "tiny",
      isDirectory: true,
      files: [file]
    )
    #expect(described.model == described.root)
    let changes: [(inout ModelDescription) -> Void] = [
      { $0.fingerprint = Digest(of: [8]) }, { $0.name = "tinx" }, { $0.isDirectory = false },
      { $0.files = [] }, { $0.files.append(file) }, { $0.files[0].name = "n" },
      { $0.files[0].size = 11 }, { $0.files[0].headerBytes = 3 },
      { $0.files[0].digests = [Digest(of: [2])] }, { $0.files[0].digests = [] },
    ]
    var seen: Set<Digest> = [described.model]
    for change in changes {
      var other = described
      change(&other)
      #expect(seen.insert(other.root).inserted)
      #expect(other.root != other.model)
    }
  }
}
