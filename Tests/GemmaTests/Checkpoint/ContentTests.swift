// What is known of files that were read once, and when it is no longer believed.

import CLinux
import Content
import Foundation
import Gemma
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import ModelFiles

/// Counts the bytes that a reader reads.
private final class ReadCount: Sendable {
  private let count = Atomic(0)

  var value: Int { count.load(ordering: .relaxed) }

  func reader(_ store: DigestStore?) -> ContentReader {
    ContentReader(keptIn: store) { done, _ in self.count.store(done, ordering: .relaxed) }
  }
}

@Suite struct `Content of model files` {
  /// Writes a small model.
  private func model(_ directory: String, _ name: String = "m.gguf") throws -> String {
    let path = "\(directory)/\(name)"
    try TinyModel.gemma3.gguf.bytes.write(to: path)
    return path
  }

  /// Waits until the file system's clock has gone on.
  private func settle() {
    let end = ContinuousClock.now + .milliseconds(60)
    // A signal ends a sleep early.
    while ContinuousClock.now < end { usleep(5_000) }
  }

  /// Changes a byte of the last tensor.
  private func change(_ path: String) throws {
    let handle = try #require(FileHandle(forUpdatingAtPath: path))
    let offset = try handle.seekToEnd() - 100
    try handle.seek(toOffset: offset)
    let byte = try #require(handle.read(upToCount: 1)?.first)
    try handle.seek(toOffset: offset)
    try handle.write(contentsOf: [byte ^ 1])
    try handle.close()
  }

  @Test func `a file is read once, and not again while it is as it was`() throws {
    try withTemporaryDirectory { directory in
      let path = try model(directory)
      settle()
      let store = DigestStore(directory: "\(directory)/digests")
      let first = ReadCount()
      let checkpoint = try Checkpoint.open(path)
      let fingerprint = try checkpoint.fingerprint(first.reader(store))
      #expect(first.value == checkpoint.totalByteCount)
      #expect(try checkpoint.fingerprint() == fingerprint)
      let second = ReadCount()
      #expect(try Checkpoint.open(path).fingerprint(second.reader(store)) == fingerprint)
      #expect(second.value == 0)
    }
  }

  @Test func `other bytes at the same size and time are another model`() throws {
    try withTemporaryDirectory { directory in
      let path = try model(directory)
      settle()
      let store = DigestStore(directory: "\(directory)/digests")
      let checkpoint = try Checkpoint.open(path)
      let fingerprint = try checkpoint.fingerprint(ContentReader(keptIn: store))
      var before = stat()
      try #require(unsafe stat(path, &before) == 0)
      try change(path)
      var times = [before.st_atim, before.st_mtim]
      try #require(unsafe utimensat(AT_FDCWD, path, &times, 0) == 0)
      let now = try Checkpoint.open(path).fingerprint(ContentReader(keptIn: store))
      #expect(now != fingerprint)
      #expect(try Checkpoint.open(path).fingerprint() == now)
    }
  }

  @Test func `a file that has just changed may change again unseen, and is not kept`() throws {
    try withTemporaryDirectory { directory in
      let path = try model(directory)
      let store = DigestStore(directory: "\(directory)/digests")
      _ = try Checkpoint.open(path).fingerprint(ContentReader(keptIn: store))
      let again = ReadCount()
      _ = try Checkpoint.open(path).fingerprint(again.reader(store))
      // A machine that takes longer than the clock's step to get here has kept it, and rightly.
      if FileManager.default.fileExists(atPath: "\(directory)/digests") { return }
      #expect(again.value > 0)
    }
  }

  @Test func `what is kept is believed whole or not at all`() throws {
    try withTemporaryDirectory { directory in
      let path = try model(directory)
      settle()
      let store = DigestStore(directory: "\(directory)/digests")
      let fingerprint = try Checkpoint.open(path).fingerprint(ContentReader(keptIn: store))
      let name = try #require(
        FileManager.default.contentsOfDirectory(atPath: "\(directory)/digests").first
      )
      let kept = "\(directory)/digests/\(name)"
      let whole = try Data(contentsOf: URL(filePath: kept))
      var random = SeededRandom(20)
      for round in 0..<200 {
        var bytes = whole
        if round.isMultiple(of: 2) {
          bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8(round % 8)
        } else {
          bytes = bytes.prefix(Int.random(in: 0..<bytes.count, using: &random))
        }
        try bytes.write(to: URL(filePath: kept))
        let count = ReadCount()
        #expect(try Checkpoint.open(path).fingerprint(count.reader(store)) == fingerprint)
        #expect(count.value > 0, "round \(round)")
      }
      // What others may write to is nobody's word.
      try whole.write(to: URL(filePath: kept))
      try #require(unsafe chmod(kept, 0o622) == 0)
      let count = ReadCount()
      _ = try Checkpoint.open(path).fingerprint(count.reader(store))
      #expect(count.value > 0)
    }
  }

  @Test func `a directory that cannot be written costs time, and nothing else`() throws {
    try withTemporaryDirectory { directory in
      let path = try model(directory)
      settle()
      let store = DigestStore(directory: "/proc/nothing")
      let checkpoint = try Checkpoint.open(path)
      #expect(
        try checkpoint.fingerprint(ContentReader(keptIn: store)) == checkpoint.fingerprint()
      )
    }
  }

  @Test func `a file that changed after it was opened is refused by name`() throws {
    try withTemporaryDirectory { directory in
      let path = try model(directory)
      let checkpoint = try Checkpoint.open(path)
      settle()
      try change(path)
      expectRefusal(.file, path, "was changed after it was opened") {
        _ = try checkpoint.fingerprint()
      }
      let reader = ContentReader(acceptsChanges: true)
      #expect(try checkpoint.fingerprint(reader) == Checkpoint.open(path).fingerprint())
    }
  }

  @Test func `reading stops when it is told to`() throws {
    struct Stopped: Error {}
    try withTemporaryDirectory { directory in
      let checkpoint = try Checkpoint.open(try model(directory))
      #expect(throws: Stopped.self) {
        try checkpoint.fingerprint(ContentReader { _, _ in throw Stopped() })
      }
    }
  }

  // MARK: While it is served

  @Test func `cutting, writing and replacing are told apart, each by name`() throws {
    try withTemporaryDirectory { directory in
      let path = try model(directory)
      let checkpoint = try Checkpoint.open(path)
      #expect(checkpoint.changes().isEmpty)
      settle()
      // Touched, linked, renamed and back: the bytes are the same.
      try #require(unsafe link(path, "\(directory)/other") == 0)
      #expect(checkpoint.changes().isEmpty)
      try change(path)
      #expect(checkpoint.changes().map(\.kind) == [.written])
      #expect(checkpoint.changes().first?.message == "\(path) was written to")
      let size = try #require(checkpoint.changes().first?.now?.size)
      try #require(unsafe truncate(path, 5000) == 0)
      #expect(checkpoint.changes().map(\.kind) == [.cut])
      #expect(
        checkpoint.changes().first?.message == "\(path) was cut from \(size) to 5000 bytes"
      )
      let second = try Checkpoint.open(try model(directory, "second.gguf"))
      _ = try model(directory, "third.gguf")
      try #require(unsafe rename("\(directory)/third.gguf", second.path) == 0)
      #expect(second.changes().first?.message == "\(second.path) was replaced by another file")
      try #require(unsafe unlink(second.path) == 0)
      #expect(second.changes().first?.message == "\(second.path) was removed")
    }
  }

  @Test func `a mapped file that is cut ends a process in words that name it`() async throws {
    let result = await #expect(
      processExitsWith: .exitCode(74),
      observing: [\.standardErrorContent]
    ) {
      let path = "\(FileManager.default.temporaryDirectory.path)/trestle-cut-\(getpid())\u{1B}.bin"
      clinux_tell_of_cut_files()
      try Data(repeating: 7, count: 1 << 20).write(to: URL(filePath: path))
      let region = try MappedFile.open(path).region(offset: 4096, count: 1 << 19)
      guard unsafe region.bytes[1 << 18] == 7, unsafe truncate(path, 8192) == 0 else { exit(1) }
      unsafe unlink(path)
      // Within the file still, then behind its end.
      guard unsafe region.bytes[0] == 7 else { exit(2) }
      _ = unsafe region.bytes[1 << 18]
    }
    let words = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(words.contains("error: ") && words.contains("trestle-cut-"), "\(words)")
    #expect(words.contains("?.bin was cut short while it was in use"), "\(words)")
  }

  @Test func `another cause of SIGBUS ends it as ever`() async throws {
    await #expect(processExitsWith: .signal(SIGBUS)) {
      clinux_tell_of_cut_files()
      raise(SIGBUS)
      raise(SIGBUS)
    }
  }
}
