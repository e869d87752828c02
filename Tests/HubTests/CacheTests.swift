// The cache on disk: what is found in it, what is removed from it, and files that are only half there.

import Content
import Foundation
import ModelFiles
import TestSupport
import Testing

@testable import Hub

private let commit = String(repeating: "c", count: 40)

/// A repository as another program has left it.
private func fill(
  _ cache: String,
  _ repository: String,
  _ files: [String: String],
  commit: String = commit,
  ref: String? = "main"
) throws {
  let name = try #require(RepositoryName(repository))
  let cached = HubCache(cache).repository(name)
  try cached.prepare()
  var hubFiles: [HubFile] = []
  for (path, content) in files {
    let data = Array(content.utf8)
    var digest = ObjectDigest(like: String(repeating: "0", count: 64), byteCount: data.count)
    digest.update(data)
    let object = digest.finish()
    try Data(data).write(to: URL(filePath: cached.blob(object)))
    hubFiles.append(HubFile(path: path, byteCount: data.count, object: object))
  }
  try cached.link(hubFiles, commit: commit, revision: ref ?? commit)
}

@Suite struct `Cache of models` {
  @Test func `what is there is found by name, and removed without what others share`() throws {
    try withTemporaryDirectory { directory in
      let files = ["x-Q4_0.gguf": "four", "x-Q8_0.gguf": "eight", "README.md": "read"]
      try fill(directory, "a/b", files)
      try fill(
        directory,
        "a/b",
        ["x-Q4_0.gguf": "four"],
        commit: String(repeating: "d", count: 40),
        ref: nil
      )
      let cache = HubCache(directory)
      let model = try #require(try cache.model(ModelReference("a/b:q8_0")))
      #expect(try String(contentsOfFile: model.path, encoding: .utf8) == "eight")
      #expect(try cache.model(ModelReference("a/b:q2_K")) == nil)
      #expect(try cache.model(ModelReference("a/other")) == nil)
      let other = "a/b:Q4_0@" + String(repeating: "d", count: 40)
      #expect(cache.models().map { "\($0.reference)" } == ["a/b:Q4_0", other, "a/b:Q8_0"])
      for model in cache.models() { #expect(try cache.model(model.reference) == model) }

      #expect(try remove("a/b:Q8_0", cache) > 0)
      #expect(cache.models().map { "\($0.reference)" } == ["a/b:Q4_0", other])
      let blobs = ModelPath.names(in: "\(directory)/models--a--b/blobs")
      #expect(blobs.count == 2, "\(blobs)")
      let error = #expect(throws: HubError.self) { try remove("a/b:Q8_0", cache) }
      #expect(error?.message == "is not in the cache; there is a/b:Q4_0, \(other)")
      _ = try remove("a/b", cache)
      #expect(ModelPath.names(in: directory) == [".locks"])
      #expect(throws: HubError.self) { try remove("a/b", cache) }
    }
  }

  private func remove(_ name: String, _ cache: HubCache) throws -> Int {
    try cache.remove(cache.removal(of: ModelReference(name)))
  }

  @Test func `a name removes its own model, and no other revision of it`() throws {
    try withTemporaryDirectory { directory in
      let cache = HubCache(directory)
      let old = String(repeating: "d", count: 40)
      func fillBoth() throws {
        try fill(
          directory,
          "a/b",
          ["x-Q8_0.gguf": "old", "README.md": "x"],
          commit: old,
          ref: "v1"
        )
        try fill(directory, "a/b", ["x-Q8_0.gguf": "new", "x-Q4_0.gguf": "4"])
      }
      try fillBoth()
      #expect(
        cache.models().map { "\($0.reference)" } == ["a/b:Q4_0", "a/b:Q8_0", "a/b:Q8_0@v1"]
      )
      #expect(
        try cache.removal(of: ModelReference("a/b@v1")).names == ["README.md", "x-Q8_0.gguf"]
      )
      _ = try remove("a/b@v1", cache)
      #expect(cache.models().map { "\($0.reference)" } == ["a/b:Q4_0", "a/b:Q8_0"])
      let repository = "\(directory)/models--a--b"
      #expect(ModelPath.names(in: "\(repository)/refs") == ["main"])
      #expect(ModelPath.names(in: "\(repository)/snapshots") == [commit])
      try fillBoth()
      _ = try remove("a/b:Q8_0@\(commit)", cache)
      #expect(cache.models().map { "\($0.reference)" } == ["a/b:Q4_0", "a/b:Q8_0@v1"])
      try fillBoth()
      _ = try remove("a/b:Q8_0", cache)
      #expect(cache.models().map { "\($0.reference)" } == ["a/b:Q4_0", "a/b:Q8_0@v1"])
      _ = try remove("a/b:Q8_0@v1", cache)
      #expect(cache.models().map { "\($0.reference)" } == ["a/b:Q4_0"])
      for none in ["a/b:Q8_0", "a/b@v2", "a/b@\(String(repeating: "e", count: 40))"] {
        let error = #expect(throws: HubError.self) { try remove(none, cache) }
        #expect(error?.message == "is not in the cache; there is a/b:Q4_0", "\(none)")
      }
    }
  }

  @Test func `files that share a quantisation are called by their names, and removed one by one`()
    throws
  {
    try withTemporaryDirectory { directory in
      let cache = HubCache(directory)
      try fill(directory, "a/b", ["alpha-Q8_0.gguf": "a", "beta-Q8_0.gguf": "b"])
      let names = cache.models().map { "\($0.reference)" }
      #expect(names == ["a/b:alpha-Q8_0.gguf", "a/b:beta-Q8_0.gguf"])
      let error = #expect(throws: HubError.self) { try remove("a/b:Q8_0", cache) }
      #expect(error?.message.hasSuffix("alpha-Q8_0.gguf, beta-Q8_0.gguf") == true)
      #expect(throws: HubError.self) { try cache.model(ModelReference("a/b:Q8_0")) }
      _ = try remove(names[0], cache)
      #expect(cache.models().map { "\($0.reference)" } == ["a/b:Q8_0"])
    }
  }

  @Test func `removing leaves what others have fetched and not named yet`() throws {
    try withTemporaryDirectory { directory in
      let cache = HubCache(directory)
      try fill(directory, "a/b", ["x-Q8_0.gguf": "eight", "x-Q4_0.gguf": "four"])
      let blob = "\(directory)/models--a--b/blobs/" + String(repeating: "7", count: 64)
      try Data("first part".utf8).write(to: URL(filePath: blob))
      _ = try remove("a/b:Q8_0", cache)
      #expect(ModelPath.exists(blob))
    }
  }

  @Test func `beside GGUF files a directory of tensors has no name`() throws {
    try withTemporaryDirectory { directory in
      let cache = HubCache(directory)
      try fill(directory, "a/b", ["x-Q8_0.gguf": "8", "config.json": "{}", "m.safetensors": "m"])
      #expect(cache.models().map { "\($0.reference)" } == ["a/b:Q8_0"])
    }
  }

  @Test func `a repository on another disk is not followed there, and told of`() throws {
    try withTemporaryDirectory { directory in
      let cache = HubCache("\(directory)/hub")
      try fill(cache.directory, "a/b", ["x-Q8_0.gguf": "eight"])
      let place = "\(directory)/elsewhere"
      try FileManager.default.moveItem(atPath: "\(cache.directory)/models--a--b", toPath: place)
      try FileManager.default.createSymbolicLink(
        atPath: "\(cache.directory)/models--a--b",
        withDestinationPath: place
      )
      #expect(cache.models().count == 1)
      let error = #expect(throws: HubError.self) { try remove("a/b", cache) }
      #expect(error?.message.contains("is a link to \(place)") == true)
      #expect(cache.models().count == 1)
      // Single files are of the cache, wherever it lies.
      _ = try remove("a/b:Q8_0", cache)
      #expect(cache.models().isEmpty && ModelPath.exists("\(place)/blobs"))
    }
  }

  @Test func `what is there is hashed on request`() throws {
    try withTemporaryDirectory { directory in
      try fill(directory, "a/b", ["x-Q8_0.gguf": "eight"])
      let repository = HubCache(directory).repository(try #require(RepositoryName("a/b")))
      let file = try #require(repository.files(of: commit).first)
      #expect(try repository.isIntact(file, Cancellation()))
      try Data("eighT".utf8).write(to: URL(filePath: repository.blob(file.object)))
      #expect(repository.has(file))
      #expect(try !repository.isIntact(file, Cancellation()))
    }
  }

  @Test func `a directory that cannot be made is named, with the way out`() throws {
    try withTemporaryDirectory { directory in
      try Data().write(to: URL(filePath: "\(directory)/file"))
      let error = #expect(throws: HubError.self) { try fill("\(directory)/file/hub", "a/b", [:]) }
      #expect(error?.context == "\(directory)/file")
      #expect(error?.message.hasPrefix("is no directory; HF_HUB_CACHE") == true)
    }
  }

  @Test func `removing follows no link out of the cache`() throws {
    try withTemporaryDirectory { directory in
      let precious = "\(directory)/precious"
      try Data("mine".utf8).write(to: URL(filePath: precious))
      let cache = HubCache("\(directory)/hub")
      try fill(cache.directory, "a/b", ["x-Q4_0.gguf": "four"])
      let snapshot = "\(cache.directory)/models--a--b/snapshots/\(commit)"
      try FileManager.default.createSymbolicLink(
        atPath: "\(snapshot)/y-Q8_0.gguf",
        withDestinationPath: precious
      )
      _ = try remove("a/b:Q8_0", cache)
      #expect(!ModelPath.exists("\(snapshot)/y-Q8_0.gguf"))
      _ = try remove("a/b", cache)
      #expect(try String(contentsOfFile: precious, encoding: .utf8) == "mine")
    }
  }

  @Test func `a model with missing parts is not whole`() throws {
    try withTemporaryDirectory { directory in
      try fill(directory, "a/split", ["x-Q8_0-00001-of-00002.gguf": "one"])
      let index = #"{"weight_map": {"w": "m-1.safetensors", "v": "m-2.safetensors"}}"#
      let files = [
        "config.json": "{}", "m-1.safetensors": "1", "model.safetensors.index.json": index,
      ]
      try fill(directory, "a/tensors", files)
      let cache = HubCache(directory)
      #expect(cache.models().map(\.isComplete) == [false, false])
      #expect(try cache.model(ModelReference("a/split:Q8_0")) == nil)
      #expect(try cache.model(ModelReference("a/tensors")) == nil)
      try fill(directory, "a/tensors", ["m-2.safetensors": "2"])
      #expect(try cache.model(ModelReference("a/tensors")) != nil)
    }
  }

  @Test func `what is no repository is passed over`() throws {
    try withTemporaryDirectory { directory in
      for name in ["datasets--a--b", "models--a", "models--..--b", "models--a--b--c", "x"] {
        try FileManager.default.createDirectory(
          atPath: "\(directory)/\(name)/snapshots/\(commit)",
          withIntermediateDirectories: true
        )
      }
      #expect(HubCache(directory).models().isEmpty && HubCache(directory).unfinished().isEmpty)
      #expect(HubCache("\(directory)/none").models().isEmpty)
    }
  }
}

@Suite struct `Unfinished files` {
  private func fill(_ file: PartialFile, _ blocks: Range<Int>) throws {
    for block in blocks {
      let bytes = [UInt8](repeating: UInt8(block + 1), count: file.bytes(of: block).count)
      try file.write(bytes, at: file.bytes(of: block).lowerBound)
      try file.mark(block: block)
    }
  }

  @Test func `blocks are remembered by the next process`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/blob"
      let byteCount = 3 * PartialFile.blockByteCount + 5
      try fill(PartialFile(path, byteCount: byteCount), 1..<2)
      let file = try PartialFile(path, byteCount: byteCount)
      #expect(file.missing.map(\.lowerBound) == [0, 2, 3].map { $0 * PartialFile.blockByteCount })
      #expect(file.presentByteCount == PartialFile.blockByteCount)
      #expect(
        PartialFile.presentByteCount(path, byteCount: byteCount) == PartialFile.blockByteCount
      )
      #expect(PartialFile.presentByteCount("\(directory)/none", byteCount: byteCount) == 0)
      try fill(file, 2..<4)
      try fill(file, 0..<1)
      try file.commit()
      #expect(ModelPath.names(in: directory) == ["blob"])
      let content = try Data(contentsOf: URL(filePath: path))
      #expect(content.count == byteCount && content.first == 1 && content.last == 4)
    }
  }

  @Test func `an interrupt does not wait until all that is there has been hashed`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/blob"
      let partial = try PartialFile(path, byteCount: 4 * PartialFile.blockByteCount)
      try fill(partial, 0..<4)
      let cancellation = Cancellation()
      cancellation.cancel()
      let download = FileDownload(
        HubFile(
          path: "x.gguf",
          byteCount: partial.byteCount,
          object: String(repeating: "0", count: 64)
        ),
        at: "http://127.0.0.1:9/x.gguf",
        into: partial,
        HubSettings(endpoint: "http://127.0.0.1:9", cache: directory, agent: "tests"),
        try #require(RepositoryName("a/b")),
        cancellation: cancellation,
        onBytes: { _ in }
      )
      // After the last byte it would tell of the digest, and remove what is there.
      let error = #expect(throws: HubError.self) { try download.run() }
      #expect(error?.code == .interrupted)
      #expect(try PartialFile(path, byteCount: partial.byteCount).missing.isEmpty)
    }
  }

  @Test func `what is unfinished opens as no model, even if it begins as one`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/blob"
      let file = try PartialFile(path, byteCount: 3 * PartialFile.blockByteCount)
      try file.write(Array("GGUF".utf8), at: 0)
      let error = #expect(throws: ModelFilesError.self) {
        try ModelPath(path + PartialFile.dataSuffix)
      }
      #expect(error?.message.contains("a download that has not finished") == true)
    }
  }

  @Test func `marks that cannot be right are forgotten`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/blob"
      let byteCount = 4 * PartialFile.blockByteCount
      try fill(PartialFile(path, byteCount: byteCount), 0..<3)
      // Another size, marks of another length, data that are shorter than the marks say.
      #expect(
        try PartialFile(path, byteCount: byteCount + PartialFile.blockByteCount).missing.count == 5
      )
      try fill(PartialFile(path, byteCount: byteCount), 0..<3)
      unsafe truncate(path + PartialFile.dataSuffix, PartialFile.blockByteCount)
      #expect(try PartialFile(path, byteCount: byteCount).missing.count == 4)
      try fill(PartialFile(path, byteCount: byteCount), 0..<3)
      try Data("ab".utf8).write(to: URL(filePath: path + PartialFile.marksSuffix))
      #expect(try PartialFile(path, byteCount: byteCount).missing.count == 4)
    }
  }
}

@Suite struct `Names of content` {
  private func name(_ text: String, like length: Int, pieces: Int) -> String {
    let bytes = Array(text.utf8)
    var digest = ObjectDigest(like: String(repeating: "0", count: length), byteCount: bytes.count)
    for first in stride(from: 0, to: bytes.count, by: pieces) {
      digest.update(Array(bytes[first..<min(first + pieces, bytes.count)]))
    }
    return digest.finish()
  }

  // FIPS 180-2's examples, and `git hash-object` of the same bytes.
  @Test(arguments: [
    (
      "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"
    ),
    (
      "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    ),
  ])
  func `content has the name that git and Git LFS give it`(
    _ text: String,
    _ sha256: String,
    _ git: String
  ) {
    for pieces in [1, 2, 64] {
      #expect(name(text, like: 64, pieces: pieces) == sha256)
      #expect(name(text, like: 40, pieces: pieces) == git)
    }
  }

  @Test func `SHA-1 is that of the standard, however long the bytes are`() {
    func hex(_ bytes: [UInt8]) -> String { bytes.map { String(format: "%02x", $0) }.joined() }
    var sum = SHA1()
    sum.update(Array("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8))
    #expect(hex(sum.finish()) == "84983e441c3bd26ebaae4aa1f95129e5e54670f1")
    var million = SHA1()
    for _ in 0..<1000 { million.update([UInt8](repeating: UInt8(ascii: "a"), count: 1000)) }
    #expect(hex(million.finish()) == "34aa973cd4c4daa4f61eeb2bdbad27316534016f")
  }
}
