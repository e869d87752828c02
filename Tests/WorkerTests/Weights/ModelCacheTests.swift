// The local copy of a model's files: what is believed, and what is not.

import Foundation
import Glibc
import TestSupport
import Testing
import Wire

@testable import Worker

@Suite struct `Model cache` {
  private let size = 3 * Limits.chunkBytes + 100

  private func description(
    _ names: [String] = ["a.safetensors", "config.json"],
    isDirectory: Bool = true,
    size: Int? = nil
  ) -> ModelDescription {
    ModelDescription(
      model: Digest(of: [1]),
      fingerprint: 0xABCD,
      name: "tiny",
      isDirectory: isDirectory,
      files: names.map {
        ModelFile(name: $0, size: UInt64(size ?? self.size), headerBytes: 10)
      }
    )
  }

  private func chunk(_ file: Int, _ index: Int, _ cache: ModelCache) -> Chunk {
    let id = ChunkID(file: file, chunk: index)
    let data = (0..<cache.byteCount(id)).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ index &+ 1) }
    return Chunk(id: id, data: data, digest: Digest(of: data))
  }

  private func all(_ cache: ModelCache) -> [ChunkID] { cache.chunks(of: 0, 0..<size) }

  private func missing(_ cache: ModelCache) throws -> [Int] {
    try cache.inspect(all(cache)) {}.missing.map(\.chunk)
  }

  private func file(_ root: String, _ part: String = "files") -> String {
    "\(root)/abcd-\(Digest(of: [1]).description.prefix(16))/\(part)/a.safetensors"
  }

  @Test func `what was stored is there at the next start, and takes no more room than it must`()
    throws
  {
    try withTemporaryDirectory { root in
      let cache = try ModelCache(root: root, description())
      #expect(try missing(cache) == [0, 1, 2, 3])
      try cache.store(chunk(0, 3, cache))
      try cache.store(chunk(0, 1, cache))
      #expect(cache.holds([ChunkID(file: 0, chunk: 1), ChunkID(file: 0, chunk: 3)]))
      #expect(!cache.holds([ChunkID(file: 0, chunk: 1), ChunkID(file: 0, chunk: 0)]))
      let again = try ModelCache(root: root, description())
      // Nothing is believed before it was compared.
      #expect(!again.holds([ChunkID(file: 0, chunk: 1)]))
      #expect(try missing(again) == [0, 2])
      #expect(again.holds([ChunkID(file: 0, chunk: 1)]))
      var status = stat()
      try #require(unsafe stat(file(root), &status) == 0)
      #expect(status.st_size == size)
      #expect(status.st_blocks * 512 < 2 * Limits.chunkBytes)
      #expect(status.st_mode & 0o077 == 0)
    }
  }

  @Test
  func `a byte that has changed, a digest without piece and a piece without digest are found`()
    throws
  {
    try withTemporaryDirectory { root in
      let cache = try ModelCache(root: root, description())
      for index in 0..<4 { try cache.store(chunk(0, index, cache)) }
      let data = try #require(FileHandle(forUpdatingAtPath: file(root)))
      try data.seek(toOffset: UInt64(Limits.chunkBytes + 5))
      try data.write(contentsOf: [0xEE])
      let digests = try #require(FileHandle(forUpdatingAtPath: file(root, "digests")))
      try digests.seek(toOffset: UInt64(2 * Digest.byteCount))
      try digests.write(contentsOf: [UInt8](repeating: 0, count: Digest.byteCount))
      // The last piece is lost, as if the machine had lost power before it was on the disk.
      try data.truncate(atOffset: UInt64(3 * Limits.chunkBytes))
      let again = try ModelCache(root: root, description())
      let contents = try again.inspect(all(again)) {}
      #expect(contents.missing.map(\.chunk) == [1, 2, 3])
      #expect(contents.damagedCount == 2)
      for id in contents.missing { try again.store(chunk(0, id.chunk, again)) }
      #expect(try missing(ModelCache(root: root, description())) == [])
    }
  }

  @Test func `two workers may fill it at the same time`() throws {
    try withTemporaryDirectory { root in
      let caches = try (0..<2).map { _ in try ModelCache(root: root, description()) }
      for index in 0..<4 {
        for cache in caches { try cache.store(chunk(0, index, cache)) }
      }
      try caches[0].store(chunk(1, 2, caches[0]))
      #expect(try missing(ModelCache(root: root, description())) == [])
      #expect(try caches[1].inspect([ChunkID(file: 1, chunk: 2)]) {}.missing.isEmpty)
    }
  }

  @Test(arguments: [
    ["../a"], [".."], ["."], [""], ["a/b"], ["/a"], ["a\0b"], ["a", "a"], [],
  ])
  func `names that lead out of its directory are refused`(names: [String]) throws {
    try withTemporaryDirectory { root in
      let error = #expect(throws: WorkerError.self) {
        try ModelCache(root: root, description(names))
      }
      #expect(error?.code == .weights)
      let left = try FileManager.default.contentsOfDirectory(atPath: root)
      #expect(left.isEmpty)
    }
  }

  @Test func `a GGUF model of two files and an empty file are refused`() throws {
    try withTemporaryDirectory { root in
      #expect(throws: WorkerError.self) {
        try ModelCache(root: root, description(isDirectory: false))
      }
      #expect(throws: WorkerError.self) { try ModelCache(root: root, description(size: 0)) }
    }
  }

  @Test func `a link in the place of a file is not followed`() throws {
    try withTemporaryDirectory { root in
      _ = try ModelCache(root: root, description())
      try FileManager.default.removeItem(atPath: file(root))
      try FileManager.default.createSymbolicLink(
        atPath: file(root),
        withDestinationPath: "\(root)/elsewhere"
      )
      #expect(throws: WorkerError.self) { try ModelCache(root: root, description()) }
      #expect(!FileManager.default.fileExists(atPath: "\(root)/elsewhere"))
    }
  }

  @Test func `too little room is told before anything is pulled, with the directory`() throws {
    try withTemporaryDirectory { root in
      let cache = try ModelCache(root: root, description())
      try cache.reserve(1000)
      let error = #expect(throws: WorkerError.self) { try cache.reserve(1 << 60) }
      #expect(error?.code == .weights)
      #expect(error?.message.contains(root) == true, "\(error as Any)")
      #expect(error?.message.contains("\(1 << 60) bytes more") == true)
    }
  }

  @Test func `a directory that cannot be made is named`() throws {
    let error = #expect(throws: WorkerError.self) {
      try ModelCache(root: "/proc/nothing", description())
    }
    #expect(error?.description.contains("/proc/nothing") == true)
  }
}
