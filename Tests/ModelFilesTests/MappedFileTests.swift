// Mapping and reading parts of files, and files that are none.

import Foundation
import ModelFiles
import TestSupport
import Testing

@Suite struct `Mapped file` {
  private let content = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }

  @Test func `a range is the file's bytes, wherever it begins and ends`() throws {
    try withTemporaryModel(content) { path in
      let file = try MappedFile.open(path)
      #expect(file.size == content.count)
      let ranges = [
        0..<1, 0..<20_000, 1..<2, 4095..<4097, 4096..<8192, 8191..<19_999, 19_999..<20_000,
      ]
      for range in ranges {
        let region = try file.region(offset: range.lowerBound, count: range.count)
        #expect(unsafe region.bytes.elementsEqual(content[range]), "\(range)")
        #expect(
          try file.read(offset: range.lowerBound, count: range.count) == Array(content[range])
        )
      }
    }
  }

  @Test func `a region outlives its file object and the directory entry`() throws {
    let region = try withTemporaryModel(content) { path in
      try MappedFile.open(path).region(offset: 5000, count: 100)
    }
    #expect(unsafe region.bytes.elementsEqual(content[5000..<5100]))
  }

  @Test func `an empty range is allowed up to the end`() throws {
    try withTemporaryModel(content) { path in
      let file = try MappedFile.open(path)
      let region = try file.region(offset: 20_000, count: 0)
      #expect(unsafe region.bytes.isEmpty)
      #expect(try file.read(offset: 20_000, count: 0).isEmpty)
    }
  }

  @Test(arguments: [
    (0, 20_001), (20_000, 1), (20_001, 0), (-1, 1), (0, -1), (Int.max, 1), (1, Int.max),
    (Int.max, Int.max), (Int.min, 1), (0, Int.min),
  ])
  func `a range beyond the file is refused`(offset: Int, count: Int) throws {
    try withTemporaryModel(content) { path in
      let file = try MappedFile.open(path)
      expectRefusal(.format, path) { _ = try file.region(offset: offset, count: count) }
      expectRefusal(.format, path) { _ = try file.read(offset: offset, count: count) }
    }
  }

  @Test func `what is no file with content is refused by kind`() throws {
    try withTemporaryDirectory { directory in
      expectRefusal(.file, "is a directory", directory) { _ = try MappedFile.open(directory) }
      let empty = "\(directory)/empty"
      try [UInt8]().write(to: empty)
      expectRefusal(.file, "is empty", empty) { _ = try MappedFile.open(empty) }
      let missing = "\(directory)/missing"
      expectRefusal(.file, "No such file", missing) { _ = try MappedFile.open(missing) }
      expectRefusal(.file, "no regular file") { _ = try MappedFile.open("/dev/null") }
    }
  }

  @Test func `a named pipe is refused without waiting for a writer`() throws {
    try withTemporaryDirectory { directory in
      let pipe = "\(directory)/pipe"
      #expect(unsafe mkfifo(pipe, 0o600) == 0)
      expectRefusal(.file, "no regular file", pipe) { _ = try MappedFile.open(pipe) }
    }
  }

  @Test func `a file cut short after opening is refused by read`() throws {
    try withTemporaryModel(content) { path in
      let file = try MappedFile.open(path)
      #expect(unsafe truncate(path, 100) == 0)
      expectRefusal(.file, "shorter", path) { _ = try file.read(offset: 50, count: 100) }
    }
  }
}
