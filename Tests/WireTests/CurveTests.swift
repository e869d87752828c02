// Encrypted sockets: which peers are let in, which are refused and counted, and that others are not
// affected.

import CZeroMQ
import Glibc
import TestSupport
import Testing

@testable import Wire
import Platform

@Suite struct `CURVE` {
  private static let server = try? KeyPair.make()
  private static let friend = try? KeyPair.make()
  private static let stranger = try? KeyPair.make()

  /// A ROUTER at a free tcp port that lets `friend` in.
  private final class Server {
    let context: ZeroMQContext
    let authenticator: Authenticator
    let router: Socket
    let endpoint: Endpoint
    let refusals: Mailbox<Refusal>

    init(_ keys: KeyPair, allows: @escaping @Sendable (PublicKey) -> Bool) throws {
      let refusals = try Mailbox<Refusal>()
      self.refusals = refusals
      context = try ZeroMQContext()
      let security = Security.coordinator(keys, allows: allows)
      authenticator = try #require(
        try security.authenticator(context) { refusals.post($0) }
      )
      let any = try Endpoint("tcp://127.0.0.1:*")
      var options = try security.options(.control, listeningAt: any)
      options.maxFrameBytes = 1 << 20
      router = try Socket(context, role: .router, options: options)
      try router.bind(any)
      endpoint = try router.boundEndpoint
    }

    deinit {
      router.close()
      authenticator.close()
      context.close()
    }

    /// Returns why peers were refused, as soon as at least one was.
    func nextRefusals() throws -> [Refusal] {
      var got: [Refusal] = []
      let came = try eventually {
        got += refusals.takeAll()
        return !got.isEmpty
      }
      try #require(came)
      return got
    }
  }

  private func withServer(
    _ body: (Server, _ server: KeyPair, _ friend: KeyPair) throws -> Void
  )
    throws
  {
    let keys = try #require(Self.server)
    let friend = try #require(Self.friend)
    try body(Server(keys) { $0 == friend.publicKey }, keys, friend)
  }

  /// Calls the body with a DEALER connected to the server.
  private func withDealer<Result>(
    _ security: Security,
    _ endpoint: Endpoint,
    _ body: (Socket) throws -> Result
  ) throws -> Result {
    let context = try ZeroMQContext()
    var options = try security.options(.control, connectingToCoordinator: endpoint)
    options.linger = .zero
    let dealer = try Socket(context, role: .dealer, options: options)
    defer {
      dealer.close()
      context.close()
    }
    try dealer.connect(endpoint)
    return try body(dealer)
  }

  /// Expects that the server serves the friend.
  private func expectService(_ server: Server, _ number: UInt64) throws {
    let friend = try #require(Self.friend)
    let key = try #require(Self.server).publicKey
    try withDealer(.peer(friend, coordinator: key), server.endpoint) { dealer in
      #expect(try dealer.send(ping(number), payloads: [[1, 2, 3]]) == .sent)
      let got = try nextGood(server.router)
      #expect(got.message == ping(number) && got.payloads == [[1, 2, 3]])
      #expect(got.peer?.key == friend.publicKey)
      #expect(try server.router.send(ping(number + 1), to: got.peer) == .sent)
      #expect(try nextGood(dealer).message == ping(number + 1))
    }
  }

  @Test func `a known key is served`() throws {
    try withServer { server, _, _ in
      try expectService(server, 1)
      #expect(server.refusals.takeAll().isEmpty)
    }
  }

  @Test func `an unknown key is refused with its text, and let in once it is admitted`() throws {
    let stranger = try #require(Self.stranger)
    try withServer { server, keys, _ in
      try withDealer(.peer(stranger, coordinator: keys.publicKey), server.endpoint) { dealer in
        #expect(try dealer.send(ping(9)) == .sent)
        let refusals = try server.nextRefusals()
        #expect(refusals[0].reason.contains(stranger.publicKey.description))
        #expect(refusals[0].address == "127.0.0.1" && !refusals[0].isRepeated)
        // The peer retries by itself; the log need not repeat the refusal.
        #expect(try server.nextRefusals().allSatisfy(\.isRepeated))
        try expectService(server, 1)
        server.authenticator.admit([stranger.publicKey])
        #expect(try nextGood(server.router).message == ping(9))
      }
    }
  }

  @Test func `a peer without encryption is refused and counted`() throws {
    try withServer { server, _, _ in
      try withDealer(.insecure, server.endpoint) { dealer in
        #expect(try dealer.send(ping(9)) == .sent)
        #expect(try !server.nextRefusals().isEmpty)
        try expectService(server, 1)
        #expect(try server.router.receive() == nil)
      }
    }
  }

  @Test func `a peer that takes the server for another is refused and counted`() throws {
    let stranger = try #require(Self.stranger)
    try withServer { server, _, friend in
      let mistaken = Security.peer(friend, coordinator: stranger.publicKey)
      try withDealer(mistaken, server.endpoint) { dealer in
        #expect(try dealer.send(ping(9)) == .sent)
        #expect(try server.nextRefusals().contains { $0.reason.contains("another key") })
        try expectService(server, 1)
        #expect(try server.router.receive() == nil)
      }
    }
  }

  @Test func `a friend's malformed and oversized messages are refused, and others are served`()
    throws
  {
    try withServer { server, keys, friend in
      let peer = try RawPeer(server.endpoint, as: friend, to: keys.publicKey)
      peer.send([[1, 2, 3]])
      #expect(try nextRefusal(server.router)?.code == .malformed)
      peer.send([[0x08, 0x63]])
      #expect(try nextRefusal(server.router)?.code == .version)
      peer.send([[UInt8](repeating: 0, count: 2 << 20)])
      try expectService(server, 1)
      #expect(try server.router.receive() == nil)
    }
  }

  @Test func `the end waits for nobody, in whatever state its peers are`() throws {
    let stranger = try #require(Self.stranger)
    for _ in 0..<10 {
      try withServer { server, keys, _ in
        try withDealer(.peer(stranger, coordinator: keys.publicKey), server.endpoint) { dealer in
          #expect(try dealer.send(ping(9)) == .sent)
          try withDealer(.insecure, server.endpoint) { plain in
            _ = try plain.send(ping(9))
          }
          usleep(5000)
        }
      }
    }
  }
}

@Suite struct `Protection of an endpoint` {
  @Test func `ipc needs no keys, and tcp does`() throws {
    let ipc = try Endpoint("ipc:///run/trestle/front")
    let tcp = try Endpoint("tcp://10.0.0.1:7000")
    let own = try KeyPair.make()
    let other = try KeyPair.make().publicKey
    let curve = Security.peer(own, coordinator: other)
    for security in [Security.localOnly, .insecure, curve] {
      #expect(try security.options(.data, listeningAt: ipc) == .data)
      #expect(try security.options(.data, connectingTo: PeerAddress(ipc, key: other)) == .data)
      #expect(security.publicKey(at: ipc) == nil)
    }
    #expect(try Security.insecure.options(.data, listeningAt: tcp) == .data)
    let refused = #expect(throws: WireError.self) {
      try Security.localOnly.options(.data, listeningAt: tcp)
    }
    #expect(refused?.code == .key && refused?.message.contains("\(tcp)") == true)
    #expect(throws: WireError.self) {
      try Security.localOnly.options(.data, connectingToCoordinator: tcp)
    }
    #expect(curve.publicKey(at: tcp) == own.publicKey)
    #expect(try curve.options(.data, listeningAt: tcp).curve == .server(own.secretKey))
    let options = try curve.options(.data, connectingToCoordinator: tcp)
    #expect(options.curve == .client(own: own, server: other))
    // A missing key never leads to an unencrypted connection.
    let missing = #expect(throws: WireError.self) {
      try curve.options(.data, connectingTo: PeerAddress(tcp, key: nil))
    }
    #expect(missing?.message.contains("\(tcp)") == true, "\(missing as Any)")
  }
}
