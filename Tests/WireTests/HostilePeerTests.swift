// Hostile messages to a bound ROUTER: each is refused by name, and the next peer is served.

import Glibc
import TestSupport
import Testing
import Wire

@Suite struct `Hostile peer` {
  /// Calls the body with a bound ROUTER and, after it, checks that a well-behaved peer is served.
  private func withRouter(
    options: SocketOptions = .control,
    _ body: (Socket, Endpoint) throws -> Void
  ) throws {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let endpoint = try Endpoint("ipc://\(directory)/s")
      let router = try Socket(context, role: .router, options: options)
      try router.bind(endpoint)
      try body(router, endpoint)
      let dealer = try Socket(context, role: .dealer)
      try dealer.connect(endpoint)
      #expect(try dealer.send(ping(77), payloads: [[1, 2, 3]]) == .sent)
      // The stranger's message may still be in transit.
      for _ in 0..<100_000 {
        guard case .success(let (message, payloads)) = try next(router).content,
          message == ping(77)
        else { continue }
        #expect(payloads == [[1, 2, 3]])
        return
      }
      Issue.record("the well-behaved peer was not served")
    }
  }

  @Test func `each kind of bad message is refused by name and its frames are taken away`() throws {
    let good = try ping(1).encoded()
    let cases: [(frames: [[UInt8]], code: WireError.Code, part: String)] = [
      ([[]], .truncated, "empty"),
      ([[], good], .truncated, "empty"),  // the delimiter of a REQ socket
      ([[1, 2, 3, 4, 5], good], .malformed, "version"),  // an identity too many
      ([good, [0, 0, 128]], .truncated, "3 bytes"),
      ([good, [0, 0, 128, 63], [9]], .truncated, "payload 1 has 1 bytes"),
      ([good] + Array(repeating: [], count: 65), .oversized, "more than 64"),
      ([[0x08, 0x63]], .version, "protocol 99"),
      ([good, good, good], .truncated, "payload 0"),
    ]
    try withRouter { router, endpoint in
      let peer = try RawPeer(endpoint)
      for (frames, code, part) in cases {
        peer.send(frames)
        peer.send([good, [0, 0, 128, 63]])
        let error = try nextRefusal(router)
        #expect(error?.code == code)
        #expect(error?.message.contains(part) == true, "\(error as Any)")
        #expect(try nextGood(router).payloads == [[1]])
      }
    }
  }

  @Test(.seeded(default: 31)) func `random and corrupted messages never stop the service`() throws {
    var maker = MessageMaker(random: SeededRandom(testSeed(default: 31)))
    try withRouter { router, endpoint in
      let peer = try RawPeer(endpoint)
      for _ in 0..<fuzzIterations(default: 2000) {
        var frames = (0..<Int.random(in: 1...6, using: &maker.random)).map { _ in
          maker.random.bytes(Int.random(in: 0...64, using: &maker.random))
        }
        if maker.coin() {
          frames[0] = maker.random.corrupted(try Message.stepDone(maker.stepDone()).encoded())
        }
        peer.send(frames)
        while try router.receive() != nil {}
      }
    }
  }

  @Test(.seeded(default: 32)) func `a peer that does not speak ZeroMQ is ignored`() throws {
    var random = SeededRandom(testSeed(default: 32))
    // The greeting of ZMTP 3 (rfc.zeromq.org/spec/23), which lets some of the noise get past it.
    let greeting: [UInt8] =
      [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0] + Array("NULL".utf8)
      + [UInt8](repeating: 0, count: 48)
    try withRouter { _, endpoint in
      for round in 0..<40 {
        let noise = random.bytes(Int.random(in: 1...300, using: &random))
        try write((round.isMultiple(of: 2) ? greeting : []) + noise, to: endpoint)
      }
    }
  }

  /// Writes bytes to an ipc socket as any program could.
  private func write(_ bytes: [UInt8], to endpoint: Endpoint) throws {
    let path = try #require(endpoint.socketPath)
    let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    let status = unsafe withSocketAddress(path) { unsafe connect(descriptor, $0, $1) }
    try #require(status == 0)
    // MSG_NOSIGNAL: the peer may have disconnected already.
    _ = unsafe Glibc.send(descriptor, bytes, bytes.count, CInt(MSG_NOSIGNAL))
  }

  @Test func `a frame over the limit costs the peer its connection and nobody else`() throws {
    var options = SocketOptions.control
    options.maxFrameBytes = 4096
    try withRouter(options: options) { router, endpoint in
      let peer = try RawPeer(endpoint)
      let good = try ping(1).encoded()
      peer.send([good])
      #expect(try nextGood(router).message == ping(1))
      peer.send([good, [UInt8](repeating: 0, count: 8192)])
      #expect(try poll(sockets: [router], timeout: .milliseconds(300)).isEmpty)
    }
  }
}
