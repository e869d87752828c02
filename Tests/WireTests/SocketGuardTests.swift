// The guard in front of libzmq: it cuts off messages before the library holds them, and nothing
// else.

import Glibc
import TestSupport
import Testing

@testable import Wire
import Platform

/// A connection to a ROUTER at an ipc path, on which the test sends single bytes.
private final class RawStream {
  private let descriptor: CInt

  /// ZMTP 3.0 without security, and the READY command of a DEALER (rfc.zeromq.org/spec/23).
  static let opening: [UInt8] =
    [0xFF] + Array(repeating: 0, count: 8) + [0x7F, 3, 0] + Array("NULL".utf8)
    + Array(repeating: 0, count: 16 + 1 + 31)
    + [4, 28, 5] + Array("READY".utf8) + [11] + Array("Socket-Type".utf8) + [0, 0, 0, 6]
    + Array("DEALER".utf8)

  init(_ endpoint: Endpoint) throws {
    let path = try #require(endpoint.socketPath)
    descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    let status = unsafe withSocketAddress(path) { unsafe connect(descriptor, $0, $1) }
    try #require(status == 0)
  }

  deinit { close(descriptor) }

  /// Performs the handshake and waits for the peer's greeting and READY, because libzmq disconnects
  /// a peer that sends a message before.
  func open(inPiecesOf size: Int = opening.count) throws {
    var rest = Self.opening[...]
    while !rest.isEmpty {
      try #require(send(Array(rest.prefix(size))))
      rest = rest.dropFirst(size)
    }
    var bytes = [UInt8](repeating: 0, count: 64 + 6)
    let count = unsafe bytes.withUnsafeMutableBytes {
      unsafe recv(descriptor, $0.baseAddress, $0.count, CInt(MSG_WAITALL))
    }
    try #require(count == bytes.count)
    // libzmq processes our READY a moment later.
    usleep(50_000)
  }

  /// Sends all bytes; returns false if the peer has disconnected.
  func send(_ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes {
        unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
      }
      guard count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }

  /// Returns a frame, with its size in eight bytes if `isLong` or if the size requires it.
  static func frame(_ body: [UInt8], flags: UInt8 = 0, isLong: Bool = false) -> [UInt8] {
    guard isLong || body.count > 255 else { return [flags, UInt8(body.count)] + body }
    return [flags | 2] + (0..<8).map { UInt8(truncatingIfNeeded: body.count >> (56 - 8 * $0)) }
      + body
  }
}

@Suite struct `The guard of the sockets` {
  private func withRouter(_ body: (Socket, Endpoint) throws -> Void) throws {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let endpoint = try Endpoint("ipc://\(directory)/s")
      let router = try Socket(context, role: .router)
      try router.bind(endpoint)
      try body(router, endpoint)
    }
  }

  @Test func `the calls of libzmq reach it`() throws {
    #expect(SocketGuard.isLinked)
    try withRouter { router, endpoint in
      let peers = try (0..<5).map { _ in try RawStream(endpoint) }
      #expect(try eventually { SocketGuard.connections >= 5 })
      withExtendedLifetime(peers) {}
    }
  }

  @Test func `a message of empty frames without end is cut off, and others are served`() throws {
    try withRouter { router, endpoint in
      let good = RawStream.frame(try ping(1).encoded())
      let attacker = try RawStream(endpoint)
      try attacker.open()
      #expect(attacker.send(good))
      #expect(try nextGood(router).message == ping(1))
      let before = SocketGuard.counts.unended
      let flood = (0..<4096).flatMap { _ in RawStream.frame([], flags: 1) }
      let isCut = try eventually { !attacker.send(flood) }
      #expect(isCut)
      #expect(SocketGuard.counts.unended > before)
      let peer = try RawStream(endpoint)
      try peer.open()
      #expect(peer.send(good))
      #expect(try nextGood(router).message == ping(1))
    }
  }

  @Test func `a message of large frames without end is cut off at the largest legal size`() throws {
    try withRouter { router, endpoint in
      let attacker = try RawStream(endpoint)
      try attacker.open()
      let frame = RawStream.frame([UInt8](repeating: 7, count: 8 << 20), flags: 1)
      var sent = 0
      while sent < 2 * SocketGuard.messageBytes, attacker.send(frame) { sent += frame.count }
      #expect(sent > SocketGuard.messageBytes - 2 * frame.count)
      #expect(sent < SocketGuard.messageBytes + 2 * frame.count)
    }
  }

  @Test func `a message with too many frames for us and not for the guard is refused by name`()
    throws
  {
    try withRouter { router, endpoint in
      let good = RawStream.frame(try ping(1).encoded())
      let header = RawStream.frame(try ping(1).encoded(), flags: 1)
      let rest = (2..<SocketGuard.messageFrames).flatMap { _ in RawStream.frame([], flags: 1) }
      let message = header + rest + RawStream.frame([])
      let peer = try RawStream(endpoint)
      try peer.open()
      for _ in 0..<3 {
        #expect(peer.send(message + good))
        #expect(try nextRefusal(router)?.code == .oversized)
        #expect(try nextGood(router).message == ping(1))
      }
    }
  }

  @Test(.seeded(default: 61))
  func `no way to cut a conversation into pieces changes what is delivered`() throws {
    var random = SeededRandom(testSeed(default: 61))
    try withRouter { router, endpoint in
      let peer = try RawStream(endpoint)
      try peer.open(inPiecesOf: 7)
      var bytes: [UInt8] = []
      for number in 0..<200 {
        // A command without meaning, like a heartbeat, between messages and within one.
        let noise = RawStream.frame(
          [4] + Array("PONG".utf8),
          flags: 4,
          isLong: Bool.random(using: &random)
        )
        if Bool.random(using: &random) { bytes += noise }
        let payload = random.bytes(4 * Int.random(in: 0...200, using: &random))
        let isLong = Bool.random(using: &random)
        bytes += RawStream.frame(try ping(UInt64(number)).encoded(), flags: 1, isLong: isLong)
        if Bool.random(using: &random) { bytes += noise }
        bytes += RawStream.frame(payload, isLong: Bool.random(using: &random))
      }
      var rest = bytes[...]
      var delivered: [Message] = []
      while !rest.isEmpty {
        let piece = rest.prefix(Int.random(in: 1...300, using: &random))
        try #require(peer.send(Array(piece)))
        rest = rest.dropFirst(piece.count)
        while let received = try router.receive() {
          delivered.append(try received.content.get().message)
        }
      }
      while delivered.count < 200 { delivered.append(try nextGood(router).message) }
      #expect(delivered == (0..<200).map { ping($0) })
    }
  }

  @Test func `a caller that speaks no ZMTP 3 is cut off`() throws {
    try withRouter { router, endpoint in
      let before = SocketGuard.counts.outdated
      var old = RawStream.opening
      old[10] = 1
      for greeting in [old, Array("GET / HTTP/1.1\r\n\r\n".utf8)] {
        let caller = try RawStream(endpoint)
        #expect(try eventually { !caller.send(greeting) })
      }
      #expect(SocketGuard.counts.outdated >= before + 2)
    }
  }

  @Test func `an encrypted connection may carry more in all than one message may hold`() throws {
    let (own, server) = (try KeyPair.make(), try KeyPair.make())
    let context = try ZeroMQContext()
    let authenticator = try Authenticator(context, allows: { _ in true }, onRefusal: { _ in })
    defer { authenticator.close() }
    var options = SocketOptions.data
    options.curve = .server(server.secretKey)
    let router = try Socket(context, role: .router, options: options)
    defer { router.close() }
    try router.bind(try Endpoint("tcp://127.0.0.1:*"))
    options.curve = .client(own: own, server: server.publicKey)
    let dealer = try Socket(context, role: .dealer, options: options)
    defer { dealer.close() }
    try dealer.connect(try router.boundEndpoint)
    let payload = [Float](repeating: 1, count: 12 << 20)
    let count = 2 * SocketGuard.messageBytes / (payload.count * 4) + 2
    for number in 0..<count {
      #expect(try dealer.send(ping(UInt64(number)), payloads: [payload]) == .sent)
      let received = try next(router)
      guard case .success(let (message, _)) = received.content else {
        Issue.record("\(received.content)")
        return
      }
      #expect(message == ping(UInt64(number)))
    }
  }
}

@Suite struct `What the system lacks` {
  @Test func `what is wanting for a while is waited out, other errors are not`() throws {
    var tries = 0
    let value = try Scarcity.waitOut { () throws(WireError) -> Int in
      tries += 1
      if tries < 3 { throw WireError(.scarce, "none left") }
      return 7
    }
    #expect(value == 7 && tries == 3)
    tries = 0
    #expect(throws: WireError.self) {
      try Scarcity.waitOut { () throws(WireError) -> Int in
        tries += 1
        throw WireError(.closed, "closed")
      }
    }
    #expect(tries == 1)
  }

  @Test func `the patience has an end`() throws {
    let began = ContinuousClock.now
    #expect(throws: WireError.self) {
      try Scarcity.waitOut(atMost: .milliseconds(50)) { () throws(WireError) -> Int in
        throw WireError(.scarce, "none left")
      }
    }
    #expect(ContinuousClock.now - began < .seconds(30))
  }
}
