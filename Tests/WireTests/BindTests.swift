// Binding: an error names what is in the way, and files that are not ours are left alone.

import Foundation
import TestSupport
import Testing
import Wire

@Suite struct `Bind` {
  private func refusal(_ endpoint: Endpoint) throws -> WireError? {
    let context = try ZeroMQContext()
    let socket = try Socket(context, role: .router)
    return #expect(throws: WireError.self) { try socket.bind(endpoint) }
  }

  @Test func `an ipc endpoint that is served is refused by name and goes on being served`() throws {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let endpoint = try Endpoint("ipc://\(directory)/s")
      let router = try Socket(context, role: .router)
      try router.bind(endpoint)
      let error = try refusal(endpoint)
      #expect(error?.code == .addressInUse)
      #expect(error?.message.contains("\(endpoint)") == true)
      let dealer = try Socket(context, role: .dealer)
      try dealer.connect(endpoint)
      _ = try dealer.send(ping(1))
      #expect(try nextGood(router).message == ping(1))
    }
  }

  @Test func `a tcp port that is taken is refused by name`() throws {
    let context = try ZeroMQContext()
    let router = try Socket(context, role: .router)
    try router.bind(Endpoint("tcp://127.0.0.1:*"))
    let endpoint = try router.boundEndpoint
    let error = try refusal(endpoint)
    #expect(error?.code == .addressInUse)
    #expect(error?.message.contains("\(endpoint)") == true)
  }

  @Test func `the socket of a dead process is replaced`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/s"
      try leaveSocket(path)
      let context = try ZeroMQContext()
      let router = try Socket(context, role: .router)
      try router.bind(Endpoint("ipc://\(path)"))
      let dealer = try Socket(context, role: .dealer)
      try dealer.connect(Endpoint("ipc://\(path)"))
      _ = try dealer.send(ping(1))
      #expect(try nextGood(router).message == ping(1))
    }
  }

  @Test func `a file that is no socket is refused and kept`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/diary"
      try Data("dear diary".utf8).write(to: URL(filePath: path))
      let error = try refusal(Endpoint("ipc://\(path)"))
      #expect(error?.code == .endpoint)
      #expect(error?.message.contains(path) == true)
      #expect(try String(contentsOfFile: path, encoding: .utf8) == "dear diary")
    }
  }

  @Test func `a directory that is absent and an address that is not here are named`() throws {
    try withTemporaryDirectory { directory in
      let absent = try refusal(Endpoint("ipc://\(directory)/absent/s"))
      #expect(absent?.code == .endpoint)
      #expect(absent?.message.contains("absent/s") == true)
      // 192.0.2.0/24 is reserved for documentation (RFC 5737), so no machine has it.
      let elsewhere = try refusal(Endpoint("tcp://192.0.2.1:5555"))
      #expect(elsewhere?.code == .endpoint)
      #expect(elsewhere?.message.contains("192.0.2.1") == true)
    }
  }

  @Test(arguments: ["tcp://*:5555", "tcp://127.0.0.1:*"])
  func `an endpoint to bind is not one to connect to`(text: String) throws {
    let context = try ZeroMQContext()
    let socket = try Socket(context, role: .dealer)
    let error = #expect(throws: WireError.self) { try socket.connect(Endpoint(text)) }
    #expect(error?.code == .endpoint)
    #expect(error?.message.contains(text) == true)
  }
}
