// Digests, and how files are cut into pieces.

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

@Suite struct `Model file` {
  @Test func `its pieces cover it once, the last one short`() {
    let size = 3 * Limits.chunkBytes + 5
    let file = ModelFile(name: "m", size: UInt64(size), headerBytes: 0)
    #expect(file.chunkCount == 4)
    let ranges = (0..<4).map { file.range(ofChunk: $0) }
    #expect(
      ranges.flatMap { [$0.lowerBound, $0.upperBound] }.dropFirst().dropLast().elementsEqual(
        (1...3).flatMap { [$0 * Limits.chunkBytes, $0 * Limits.chunkBytes] }
      )
    )
    #expect(ranges[0].lowerBound == 0 && ranges[3].upperBound == size)
    #expect(ModelFile(name: "m", size: 0, headerBytes: 0).chunkCount == 0)
    let whole = ModelFile(name: "m", size: UInt64(Limits.chunkBytes), headerBytes: 0)
    #expect(whole.chunkCount == 1)
    #expect(whole.range(ofChunk: 0) == 0..<Limits.chunkBytes)
  }
}
