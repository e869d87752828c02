// The messages about weights, with random content.

import Content
import TestSupport
import Wire

extension MessageMaker {
  mutating func digest() -> Digest { Digest(of: random.bytes(4)) }

  mutating func chunkID() -> ChunkID {
    ChunkID(
      file: integer(Limits.modelFiles),
      chunk: integer(Limits.chunks),
      isOfDigests: coin()
    )
  }

  mutating func modelDescription() -> ModelDescription {
    ModelDescription(
      model: digest(),
      fingerprint: digest(),
      name: text(Limits.nameBytes),
      isDirectory: coin(),
      files: list { maker in
        let size = maker.number(0...Limits.fileBytes)
        return ModelFile(
          name: maker.text(Limits.fileNameBytes),
          size: size,
          headerBytes: maker.number(0...size),
          digests: maker.list { $0.digest() }
        )
      }
    )
  }

  mutating func chunk() -> Chunk {
    let data = random.bytes(Int.random(in: 0...64, using: &random))
    return Chunk(id: chunkID(), data: data, receipt: number(0 ... .max))
  }

  mutating func pullReceipt() -> PullReceipt {
    PullReceipt(
      receipts: (0..<Int.random(in: 0...Limits.pulls, using: &random)).map { _ in
        number(0 ... .max)
      }
    )
  }

  mutating func pullFailed() -> PullFailed {
    PullFailed(code: value(of: FailureCode.self), message: text(Limits.proseBytes))
  }
}
