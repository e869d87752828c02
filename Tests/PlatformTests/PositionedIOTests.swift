// Files read and written at offsets.

import Glibc
import TestSupport
import Testing

@testable import Platform

@Suite struct `Reading and writing at offsets` {
  @Test func `what was written is read, up to the file's end`() throws {
    try withTemporaryDirectory { directory in
      let file = unsafe open("\(directory)/file", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
      try #require(file >= 0)
      defer { close(file) }
      try PositionedIO.write([3, 4, 5], to: file, at: 2)
      #expect(try PositionedIO.read(file, count: 5, at: 0) == [0, 0, 3, 4, 5])
      #expect(try PositionedIO.read(file, count: 9, at: 3) == [4, 5])
      #expect(try PositionedIO.read(file, count: 9, at: 100) == [])
      #expect(try PositionedIO.read(file, count: 0, at: 1) == [])
    }
  }

  @Test func `the system's reason is told`() throws {
    #expect(throws: SystemError.self) { try PositionedIO.read(-1, count: 1, at: 0) }
    // Every write to this device fails as one to a full disk.
    let full = unsafe open("/dev/full", O_WRONLY | O_CLOEXEC)
    try #require(full >= 0)
    defer { close(full) }
    let error = #expect(throws: SystemError.self) {
      try PositionedIO.write([1], to: full, at: 0)
    }
    #expect(error?.number == ENOSPC && error?.description == "No space left on device")
  }
}
