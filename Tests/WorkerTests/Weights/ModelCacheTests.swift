// The local copy of a model's files: what is believed, and what is not.

import Content
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
      fingerprint: Digest(of: [0xAB, 0xCD]),
      name: "tiny",
      isDirectory: isDirectory,
      files: names.map {
        let size = UInt64(size ?? self.size)
        var file = ModelFile(name: $0, size: size, headerBytes: min(10, size), digests: [])
        if file.digestChunkCount == 1 { file.digests = [Digest(of: list(file))] }
        return file
      }
    )
  }

  private func data(_ index: Int, count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ index &+ 1) }
  }

  /// The digests of a file's pieces.
  private func list(_ file: ModelFile) -> [UInt8] {
    (0..<file.chunkCount).flatMap {
      Digest(of: data($0, count: file.range(ofChunk: $0).count)).bytes
    }
  }

  private func chunk(_ file: Int, _ index: Int, _ cache: ModelCache) -> Chunk {
    let id = ChunkID(file: file, chunk: index)
    return Chunk(id: id, data: data(index, count: cache.byteCount(id)), receipt: 0)
  }

  /// Opens the cache with its lists of digests in place.
  private func open(_ root: String, _ description: ModelDescription? = nil) throws -> ModelCache {
    let description = description ?? self.description()
    let cache = try ModelCache(root: root, description)
    for file in description.files.indices {
      let lists = cache.digestChunks(of: cache.chunks(of: file, 0..<1))
      for id in try cache.inspect(lists, each: {}).missing {
        let list = Chunk(id: id, data: list(description.files[file]), receipt: 0)
        #expect(cache.isRight(list.data, id))
        try cache.store(list)
      }
    }
    return cache
  }

  private func all(_ cache: ModelCache) -> [ChunkID] { cache.chunks(of: 0, 0..<size) }

  private func missing(_ cache: ModelCache) throws -> [Int] {
    try cache.inspect(all(cache)) {}.missing.map(\.chunk)
  }

  private func file(_ root: String, _ part: String = "files") -> String {
    "\(root)/\(description().model)/\(part)/a.safetensors"
  }

  @Test func `what was stored is there at the next start, and takes no more room than it must`()
    throws
  {
    try withTemporaryDirectory { root in
      let cache = try open(root)
      #expect(try missing(cache) == [0, 1, 2, 3])
      try cache.store(chunk(0, 3, cache))
      try cache.store(chunk(0, 1, cache))
      #expect(cache.holds([ChunkID(file: 0, chunk: 1), ChunkID(file: 0, chunk: 3)]))
      #expect(!cache.holds([ChunkID(file: 0, chunk: 1), ChunkID(file: 0, chunk: 0)]))
      let again = try open(root)
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

  @Test func `a copy that others could change is not used`() throws {
    try withTemporaryDirectory { root in
      _ = try open(root)
      _ = try open(root)
      let directory = String(file(root).dropLast("/a.safetensors".count))
      try #require(unsafe chmod(directory, 0o777) == 0)
      let error = #expect(throws: WorkerError.self) { try open(root) }
      #expect(error?.message.contains("\(directory) can be written by others") == true)
      #expect(error?.message.contains("--cache") == true)
    }
  }

  @Test func `a byte that has changed, a lost piece and a lost digest are found`() throws {
    try withTemporaryDirectory { root in
      let cache = try open(root)
      for index in 0..<4 { try cache.store(chunk(0, index, cache)) }
      let data = try #require(FileHandle(forUpdatingAtPath: file(root)))
      try data.seek(toOffset: UInt64(Limits.chunkBytes + 5))
      try data.write(contentsOf: [0xEE])
      let digests = try #require(FileHandle(forUpdatingAtPath: file(root, "digests")))
      try digests.seek(toOffset: UInt64(2 * Digest.byteCount))
      try digests.write(contentsOf: [UInt8](repeating: 0, count: Digest.byteCount))
      // The last piece is lost, as if the machine had lost power before it was on the disk.
      try data.truncate(atOffset: UInt64(3 * Limits.chunkBytes))
      let again = try open(root)
      let contents = try again.inspect(all(again)) {}
      // A list of digests that has lost one is had anew; the piece was right all the time.
      #expect(contents.missing.map(\.chunk) == [1, 3])
      #expect(contents.damagedCount == 1)
      for id in contents.missing { try again.store(chunk(0, id.chunk, again)) }
      #expect(try missing(open(root)) == [])
    }
  }

  @Test func `two workers may fill it at the same time`() throws {
    try withTemporaryDirectory { root in
      let caches = try (0..<2).map { _ in try open(root) }
      for index in 0..<4 {
        for cache in caches { try cache.store(chunk(0, index, cache)) }
      }
      try caches[0].store(chunk(1, 2, caches[0]))
      #expect(try missing(open(root)) == [])
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

  @Test func `what another coordinator calls by the same names and numbers is another model`()
    throws
  {
    try withTemporaryDirectory { root in
      let cache = try open(root)
      for index in 0..<4 { try cache.store(chunk(0, index, cache)) }
      // A byte of a piece is another: so are its digest, the list's, the model's and the directory.
      var other = description()
      var list = list(other.files[0])
      list.replaceSubrange(0..<Digest.byteCount, with: Digest(of: [6]).bytes)
      other.files[0].digests = [Digest(of: list)]
      other.model = other.root
      #expect(other.model != description().model)
      let poisoned = try ModelCache(root: root, other)
      let pieces = all(poisoned)
      #expect(try poisoned.inspect(pieces) {}.missing == pieces)
      // And under this name only these bytes are taken, whoever sends them.
      let id = ChunkID(file: 0, chunk: 0)
      var data = chunk(0, 0, cache).data
      #expect(cache.isRight(data, id))
      data[data.count - 1] ^= 1
      #expect(!cache.isRight(data, id))
      // A description that is not what it is called is refused before anything is made.
      other.model = description().model
      let error = #expect(throws: WorkerError.self) { try ModelCache(root: root, other) }
      #expect(error?.message.contains("its digest is \(other.root)") == true)
    }
  }

  @Test func `sizes that no model has are refused before lists are made of them`() throws {
    try withTemporaryDirectory { root in
      let names = (0..<Limits.modelFiles).map { "f\($0)" }
      var huge = ModelDescription(
        fingerprint: Digest(of: []),
        name: "huge",
        isDirectory: true,
        files: names.map {
          ModelFile(
            name: $0,
            size: Limits.fileBytes,
            headerBytes: Limits.fileBytes,
            digests: Array(repeating: Digest(of: []), count: Limits.digestChunks)
          )
        }
      )
      var error = #expect(throws: WorkerError.self) { try ModelCache(root: root, huge) }
      #expect(error?.message.contains("the limit of \(Limits.modelBytes)") == true)
      huge.files = [
        ModelFile(
          name: "f",
          size: Limits.modelBytes,
          headerBytes: Limits.modelHeaderBytes + 1,
          digests: []
        )
      ]
      error = #expect(throws: WorkerError.self) { try ModelCache(root: root, huge) }
      #expect(error?.message.contains("the limit of \(Limits.modelHeaderBytes)") == true)
      huge.files[0].headerBytes = 1
      error = #expect(throws: WorkerError.self) { try ModelCache(root: root, huge) }
      #expect(error?.message.contains("f has 0 digests, not 512") == true)
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
      #expect(error?.message.contains("\(1 << 60) more bytes") == true)
    }
  }

  @Test func `a directory that cannot be made is named`() throws {
    let error = #expect(throws: WorkerError.self) {
      try ModelCache(root: "/proc/nothing", description())
    }
    #expect(error?.description.contains("/proc/nothing") == true)
  }
}
