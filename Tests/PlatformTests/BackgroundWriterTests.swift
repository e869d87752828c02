// A writer that nobody waits for: order, bounds, counts, and readers that sleep or have gone.

import Glibc
import TestSupport
import Testing

@testable import Platform

@Suite struct `Background writer` {
  private struct Pipe {
    let reading: CInt
    let writing: CInt

    init() throws {
      var ends: [CInt] = [-1, -1]
      let status = unsafe pipe(&ends)
      try #require(status == 0)
      (reading, writing) = (ends[0], ends[1])
      signal(SIGPIPE, SIG_IGN)
    }

    /// Reads what is there, and waits until there is something.
    func read() -> [UInt8] {
      var bytes = [UInt8](repeating: 0, count: 1 << 20)
      let count = unsafe Glibc.read(reading, &bytes, bytes.count)
      return Array(bytes.prefix(max(0, count)))
    }
  }

  private func writer(
    _ pipe: Pipe,
    pieces: Int = 8,
    bytes: Int = 1 << 20,
    onFailure: @escaping @Sendable (CInt) -> Bool = { _ in true }
  ) -> BackgroundWriter {
    BackgroundWriter(
      descriptor: pipe.writing,
      limits: BackgroundWriter.Limits(pieces: pieces, bytes: bytes),
      closesDescriptor: true,
      notice: { $0 > 0 ? Array("<\($0) lost>".utf8) : [] },
      onFailure: onFailure
    )
  }

  @Test func `pieces come in their order, all of them by the end`() throws {
    let pipe = try Pipe()
    let writer = writer(pipe, pieces: 1000)
    for number in 0..<100 { #expect(writer.post(Array("\(number),".utf8))) }
    #expect(writer.drain(within: .seconds(10)))
    #expect(writer.close(within: .seconds(10)))
    #expect(pipe.read() == Array((0..<100).map { "\($0)," }.joined().utf8))
    #expect(pipe.read().isEmpty, "the end is to be closed")
    #expect(!writer.post([1]))
    close(pipe.reading)
  }

  @Test func `a reader that sleeps costs pieces, which are counted, and no time`() throws {
    let pipe = try Pipe()
    let writer = writer(pipe)
    // Fills a pipe's 64 KiB and the thread's hands.
    writer.post([UInt8](repeating: 46, count: 200_000))
    #expect(!writer.drain(within: .milliseconds(100)))
    let began = ContinuousClock.now
    let accepted = (0..<1000).count { writer.post(Array("\($0),".utf8)) }
    #expect(ContinuousClock.now - began < .seconds(20))
    #expect(accepted == 8)
    var text: [UInt8] = []
    let deadline = ContinuousClock.now + .seconds(60)
    while text.last != UInt8(ascii: ">"), ContinuousClock.now < deadline {
      text += pipe.read()
    }
    #expect(text.drop { $0 == 46 }.elementsEqual(Array("0,1,2,3,4,5,6,7,<992 lost>".utf8)))
    #expect(writer.close(within: .seconds(10)))
    close(pipe.reading)
  }

  @Test func `bytes are bounded, too`() throws {
    let pipe = try Pipe()
    let writer = writer(pipe, pieces: 1000, bytes: 1000)
    writer.post([UInt8](repeating: 46, count: 900))
    #expect(!writer.post([UInt8](repeating: 46, count: 1001)))
    #expect(writer.close(within: .seconds(10)))
    close(pipe.reading)
  }

  @Test func `a reader that has gone is an error number, and one that is back finds the count`()
    throws
  {
    let pipe = try Pipe()
    close(pipe.reading)
    let errors = Lock<[CInt]>([])
    let writer = writer(pipe) { code in
      errors.withLock { $0.append(code) }
      return true
    }
    writer.post([1])
    writer.post([2])
    #expect(writer.drain(within: .seconds(10)))
    #expect(Set(errors.withLock { $0 }) == [EPIPE])
    #expect(writer.droppedCount == 2)
    #expect(writer.close(within: .seconds(10)))
  }

  @Test func `a failure may be the end`() throws {
    let full = unsafe open("/dev/full", O_WRONLY)
    try #require(full >= 0)
    let errors = Lock<[CInt]>([])
    let writer = BackgroundWriter(
      descriptor: full,
      limits: BackgroundWriter.Limits(pieces: 8, bytes: 100),
      closesDescriptor: true,
      onFailure: { code in
        errors.withLock { $0.append(code) }
        return false
      }
    )
    writer.post([1])
    #expect(writer.drain(within: .seconds(10)))
    #expect(!writer.post([2]))
    #expect(errors.withLock { $0 } == [ENOSPC])
    #expect(writer.close(within: .seconds(10)))
  }
}
