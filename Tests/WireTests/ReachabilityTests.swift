// Names and addresses that work both for listening and for connecting, and peers that cannot be
// reached.

import Glibc
import Testing

@testable import Wire

@Suite struct `Addresses` {
  private static let hasIPv6 = unsafe access("/proc/net/if_inet6", F_OK) == 0

  /// Listens at an endpoint, connects to the port there, and sends a message through.
  private func talk(_ host: String) throws -> Endpoint {
    let context = try ZeroMQContext()
    let router = try Socket(context, role: .router)
    defer { router.close() }
    try router.bind(Endpoint("tcp://\(host):*"))
    let bound = try router.boundEndpoint
    guard case .tcp(_, let port?) = bound.kind else { throw WireError(.endpoint, "\(bound)") }
    let dealer = try Socket(context, role: .dealer)
    defer { dealer.close() }
    try dealer.connect(Endpoint("tcp://\(host):\(port)"))
    _ = try dealer.send(ping(7))
    #expect(try nextGood(router).message == ping(7))
    return bound
  }

  @Test(arguments: ["127.0.0.1", "localhost", "lo"])
  func `an address, a host's name and an interface's serve both sides`(host: String) throws {
    #expect(try talk(host).hasAddress)
  }

  @Test(.enabled(if: hasIPv6, "this machine has no IPv6"))
  func `an IPv6 address serves both sides`() throws {
    let bound = try talk("[::1]")
    #expect(bound.description.hasPrefix("tcp://[::1]:"))
    #expect(bound.hasAddress && bound.isLocal)
  }

  @Test func `a name that is nobody's is refused on both sides`() throws {
    let context = try ZeroMQContext()
    let socket = try Socket(context, role: .dealer)
    // RFC 6761: names under .invalid never exist.
    let endpoint = try Endpoint("tcp://nobody.invalid:17")
    for error in [
      #expect(throws: WireError.self) { try socket.connect(endpoint) },
      #expect(throws: WireError.self) { try socket.bind(endpoint) },
    ] {
      #expect(error?.code == .endpoint)
      #expect(error?.message.contains("nobody.invalid") == true)
    }
  }

  @Test func `wildcards are known in both families`() throws {
    for text in ["tcp://*:1", "tcp://0.0.0.0:1", "tcp://[::]:1"] {
      let endpoint = try Endpoint(text)
      #expect(endpoint.isWildcard && !endpoint.isConnectable, "\(text)")
    }
    #expect(try Endpoint("tcp://[::]:1").fromHere == Endpoint("tcp://[::1]:1"))
    #expect(try Endpoint("tcp://*:1").fromHere == Endpoint("tcp://127.0.0.1:1"))
    #expect(try !Endpoint("tcp://worker-3:1").hasAddress)
  }
}

@Suite struct `Whether a peer is reached` {
  private func refusal(_ endpoint: Endpoint, _ patience: Duration) throws -> WireError? {
    let context = try ZeroMQContext()
    return #expect(throws: WireError.self) {
      try Reachability.require(
        PeerAddress(endpoint, key: nil),
        in: context,
        .insecure,
        within: patience
      )
    }
  }

  @Test func `a peer that listens is reached, also one that begins to a moment later`() throws {
    let context = try ZeroMQContext()
    let router = try Socket(context, role: .router)
    defer { router.close() }
    try router.bind(Endpoint("tcp://127.0.0.1:*"))
    let address = PeerAddress(try router.boundEndpoint, key: nil)
    try Reachability.require(address, in: context, .insecure)
    // The peer has sent no message.
    #expect(try router.receive() == nil)
  }

  @Test func `a port where nobody listens is named, with the system's reason`() throws {
    // The port is bound but does not listen, so nothing else can take it meanwhile.
    let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = unsafe withUnsafeMutablePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(descriptor, $0, size) + getsockname(descriptor, $0, &size)
      }
    }
    try #require(status == 0)
    let endpoint = try Endpoint("tcp://127.0.0.1:\(UInt16(bigEndian: address.sin_port))")
    let error = try refusal(endpoint, .milliseconds(300))
    #expect(error?.code == .unreachable)
    #expect(error?.message.contains("\(endpoint)") == true)
    #expect(error?.message.contains("connection refused") == true)
  }

  @Test func `one that listens and does not speak our language is told apart`() throws {
    let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    try #require(listen(descriptor, 8) == 0)
    var address = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = unsafe withUnsafeMutablePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe getsockname(descriptor, $0, &size)
      }
    }
    try #require(status == 0)
    let port = UInt16(bigEndian: address.sin_port)
    let error = try refusal(Endpoint("tcp://127.0.0.1:\(port)"), .milliseconds(300))
    #expect(error?.message.contains("a peer answers") == true, "\(error as Any)")
  }

  @Test func `the wait ends when it is told to`() throws {
    struct Enough: Error {}
    let context = try ZeroMQContext()
    let address = PeerAddress(try Endpoint("tcp://127.0.0.1:1"), key: nil)
    let began = ContinuousClock.now
    #expect(throws: Enough.self) {
      try Reachability.require(address, in: context, .insecure, within: .seconds(60)) {
        throw Enough()
      }
    }
    #expect(ContinuousClock.now - began < .seconds(30))
  }
}
