// Sockets over ipc, in a directory of the test's own, and over tcp on the loopback interface.

import Glibc
import TestSupport
import Testing
import Wire

@Suite struct `Socket messages` {
  @Test func `a message arrives with its tensors bit for bit`() throws {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let endpoint = try Endpoint("ipc://\(directory)/s")
      let router = try Socket(context, role: .router)
      let dealer = try Socket(context, role: .dealer, options: .data)
      try router.bind(endpoint)
      try dealer.connect(endpoint)
      let odd: [Float] = [.nan, .infinity, -0.0, .leastNonzeroMagnitude, .greatestFiniteMagnitude]
      let large = (0..<100_000).map(Float.init)
      #expect(try dealer.send(ping(1), payloads: [odd, [], large]) == .sent)
      let received = try nextGood(router)
      #expect(received.message == ping(1))
      #expect(
        received.payloads.map { $0.map(\.bitPattern) }
          == [odd, [], large].map {
            $0.map(\.bitPattern)
          }
      )
      #expect(try router.receive() == nil)
    }
  }

  @Test func `a router answers the peer that asked`() throws {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let endpoint = try Endpoint("ipc://\(directory)/s")
      let router = try Socket(context, role: .router)
      try router.bind(endpoint)
      let dealers = try (0..<5).map { _ in try Socket(context, role: .dealer) }
      for (index, dealer) in dealers.enumerated() {
        try dealer.connect(endpoint)
        _ = try dealer.send(ping(UInt64(index)))
      }
      var peers: Set<PeerID> = []
      for _ in dealers {
        let request = try nextGood(router)
        let peer = try #require(request.peer)
        peers.insert(peer)
        #expect(peer.description.count == 2 * peer.bytes.count)
        #expect(try router.send(request.message, payloads: [[1, 2]], to: peer) == .sent)
      }
      #expect(peers.count == 5)
      for (index, dealer) in dealers.enumerated() {
        let answer = Delivery(peer: nil, message: ping(UInt64(index)), payloads: [[1, 2]])
        #expect(try nextGood(dealer) == answer)
      }
    }
  }

  @Test func `a free tcp port is chosen and told`() throws {
    let context = try ZeroMQContext()
    let router = try Socket(context, role: .router)
    try router.bind(Endpoint("tcp://127.0.0.1:*"))
    let endpoint = try router.boundEndpoint
    guard case .tcp(let host, let port?) = endpoint.kind else {
      Issue.record("\(endpoint)")
      return
    }
    #expect(host == "127.0.0.1" && port > 0)
    let dealer = try Socket(context, role: .dealer)
    try dealer.connect(endpoint)
    #expect(try dealer.send(ping(3)) == .sent)
    #expect(try nextGood(router).message == ping(3))
  }

  @Test func `a closed socket or context says so`() throws {
    let context = try ZeroMQContext()
    let socket = try Socket(context, role: .dealer)
    socket.close()
    socket.close()
    #expect(#expect(throws: WireError.self) { try socket.receive() }?.code == .closed)
    #expect(#expect(throws: WireError.self) { try socket.send(ping(1)) }?.code == .closed)
    #expect(
      #expect(throws: WireError.self) { try poll(sockets: [socket], timeout: nil) }?.code == .closed
    )
    context.close()
    context.close()
    let late = #expect(throws: WireError.self) { try Socket(context, role: .dealer) }
    #expect(late?.code == .closed)
  }

  @Test
  func `too many tensors, or a message outside its limits, are refused before anything is sent`()
    throws
  {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let endpoint = try Endpoint("ipc://\(directory)/s")
      let router = try Socket(context, role: .router)
      let dealer = try Socket(context, role: .dealer)
      try router.bind(endpoint)
      try dealer.connect(endpoint)
      let payloads = Array(repeating: [Float](), count: Limits.payloads + 1)
      let many = #expect(throws: WireError.self) { try dealer.send(ping(1), payloads: payloads) }
      #expect(many?.code == .oversized)
      #expect(many?.message.contains("65 payloads") == true)
      let negative = Message.accepted(Accepted(request: 1, promptTokens: -1, queuePosition: 0))
      #expect(throws: WireError.self) { try dealer.send(negative) }
      _ = try dealer.send(ping(2), payloads: Array(payloads.dropLast()))
      let received = try nextGood(router)
      #expect(received.message == ping(2))
      #expect(received.payloads.count == Limits.payloads)
    }
  }
}

@Suite struct `Socket without a reader` {
  @Test func `a full queue is said, and what was taken arrives in order`() throws {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let endpoint = try Endpoint("ipc://\(directory)/s")
      let options = SocketOptions(sendQueue: 4, receiveQueue: 4)
      let router = try Socket(context, role: .router, options: options)
      let dealer = try Socket(context, role: .dealer, options: options)
      try router.bind(endpoint)
      try dealer.connect(endpoint)
      let payload = [Float](repeating: 1, count: 64 << 10)  // more than a kernel buffer holds
      var sent: UInt64 = 0
      // The queue is full only when it stays full after ZeroMQ's threads have moved what they can.
      var refusals = 0
      while refusals < 20, sent < 1000 {
        if try dealer.send(ping(sent), payloads: [payload]) == .sent {
          sent += 1
          refusals = 0
        } else {
          refusals += 1
          usleep(5000)
        }
      }
      #expect(refusals == 20, "\(sent) messages of 256 KiB were taken without a reader")
      #expect((8...40).contains(sent), "\(sent)")
      for number in 0..<sent { #expect(try nextGood(router).message == ping(number)) }
      // There is room again, and poll reports it.
      #expect(try poll(sockets: [], writable: [dealer], timeout: .seconds(10)).canSend(dealer))
      #expect(try dealer.send(ping(sent)) == .sent)
      #expect(try nextGood(router).message == ping(sent))
    }
  }

  @Test func `a router says that one peer is full while it serves another`() throws {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let endpoint = try Endpoint("ipc://\(directory)/s")
      let options = SocketOptions(sendQueue: 4, receiveQueue: 4)
      let router = try Socket(context, role: .router, options: options)
      try router.bind(endpoint)
      let lazy = try Socket(context, role: .dealer, options: options)
      let eager = try Socket(context, role: .dealer, options: options)
      var peers: [PeerID] = []
      for dealer in [lazy, eager] {
        try dealer.connect(endpoint)
        _ = try dealer.send(ping(0))
        peers.append(try #require(try nextGood(router).peer))
      }
      let payload = [Float](repeating: 1, count: 64 << 10)
      var outcome = SendOutcome.sent
      var refusals = 0
      for _ in 0..<1000 where refusals < 20 {
        outcome = try router.send(ping(1), payloads: [payload], to: peers[0])
        if outcome == .full {
          refusals += 1
          usleep(5000)
        } else {
          refusals = 0
        }
      }
      #expect(outcome == .full)
      #expect(try router.send(ping(2), to: peers[1]) == .sent)
      #expect(try nextGood(eager).message == ping(2))
    }
  }

  @Test func `sending to a dead endpoint does not wait, and is delivered when somebody comes`()
    throws
  {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let endpoint = try Endpoint("ipc://\(directory)/s")
      let dealer = try Socket(context, role: .dealer, options: .init(sendQueue: 3, receiveQueue: 3))
      let start = ContinuousClock.now
      try dealer.connect(endpoint)
      for number in 0..<3 { #expect(try dealer.send(ping(UInt64(number))) == .sent) }
      #expect(try dealer.send(ping(3)) == .full)
      #expect(ContinuousClock.now - start < .seconds(30))
      let router = try Socket(context, role: .router)
      try router.bind(endpoint)
      for number in 0..<3 { #expect(try nextGood(router).message == ping(UInt64(number))) }
    }
  }

  @Test func `a dealer that queues only when connected takes nothing for a dead endpoint`() throws {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let endpoint = try Endpoint("ipc://\(directory)/s")
      var options = SocketOptions.data
      options.queuesOnlyWhenConnected = true
      let dealer = try Socket(context, role: .dealer, options: options)
      try dealer.connect(endpoint)
      #expect(try dealer.send(ping(1)) == .full)
      let router = try Socket(context, role: .router)
      try router.bind(endpoint)
      #expect(try poll(sockets: [], writable: [dealer], timeout: .seconds(10)).canSend(dealer))
      #expect(try dealer.send(ping(2)) == .sent)
      #expect(try nextGood(router).message == ping(2))
    }
  }

  @Test func `closing does not wait for a dead endpoint longer than the linger time`() throws {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let dealer = try Socket(context, role: .dealer)
      try dealer.connect(Endpoint("ipc://\(directory)/s"))
      _ = try dealer.send(ping(1))
      let start = ContinuousClock.now
      dealer.close()
      context.close()
      #expect(ContinuousClock.now - start < .seconds(30))
    }
  }

  @Test func `a router says that a peer is unknown or gone`() throws {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let endpoint = try Endpoint("ipc://\(directory)/s")
      let router = try Socket(context, role: .router)
      try router.bind(endpoint)
      #expect(try router.send(ping(1), to: PeerID([0, 1, 2, 3, 4])) == .unreachable)
      let dealer = try Socket(context, role: .dealer)
      try dealer.connect(endpoint)
      _ = try dealer.send(ping(1))
      let peer = try #require(try nextGood(router).peer)
      dealer.close()
      #expect(try eventually { try router.send(ping(2), to: peer) == .unreachable })
      // The refused message has left nothing behind.
      let other = try Socket(context, role: .dealer)
      try other.connect(endpoint)
      _ = try other.send(ping(3))
      let request = try nextGood(router)
      let sender = try #require(request.peer)
      #expect(try router.send(ping(4), payloads: [[1]], to: sender) == .sent)
      #expect(try nextGood(other) == Delivery(peer: nil, message: ping(4), payloads: [[1]]))
    }
  }

  @Test func `a receiver that comes and goes only ever sees whole messages`() throws {
    try withTemporaryDirectory { directory in
      let context = try ZeroMQContext()
      let endpoint = try Endpoint("ipc://\(directory)/s")
      let dealer = try Socket(context, role: .dealer, options: .init(sendQueue: 8, receiveQueue: 8))
      try dealer.connect(endpoint)
      let payload = [Float](repeating: 7, count: 50_000)
      var random = SeededRandom(5)
      var seen = 0
      for _ in 0..<12 {
        let router = try Socket(
          context,
          role: .router,
          options: .init(sendQueue: 8, receiveQueue: 8)
        )
        // The previous socket releases the endpoint a moment after its close().
        #expect(
          try eventually {
            do { try router.bind(endpoint) } catch let error as WireError
              where error.code == .addressInUse
            { return false }
            return true
          }
        )
        let count = Int.random(in: 1...20, using: &random)
        let deadline = ContinuousClock.now + .seconds(60)
        var taken = 0
        while taken < count, ContinuousClock.now < deadline {
          // A refused message is fine as well: it leaves nothing behind.
          for _ in 0..<4 { _ = try dealer.send(ping(1), payloads: [payload, payload]) }
          while let received = try router.receive() {
            #expect(try received.content.get().payloads == [payload, payload])
            taken += 1
          }
        }
        #expect(taken > 0)
        seen += taken
        router.close()
      }
      #expect(seen > 12)
    }
  }
}
