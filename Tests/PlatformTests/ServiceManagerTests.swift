// What a service manager is told, datagram by datagram, and when.

import Glibc
import TestSupport
import Testing

@testable import Platform

@Suite struct `Service manager` {
  private static let begin = ContinuousClock.Instant.now

  /// Runs the body with a socket, and the manager that the socket's name stands for.
  private func withManager(
    watchdog: String? = nil,
    process: String? = nil,
    _ body: (ServiceManager, NotificationSocket) throws -> Void
  ) throws {
    try withTemporaryDirectory { directory in
      let socket = try #require(NotificationSocket("\(directory)/notify"))
      let manager = ServiceManager(
        socket: socket.name,
        watchdogMicroseconds: watchdog,
        watchdogProcess: process
      )
      try body(manager, socket)
    }
  }

  @Test func `each fact is a datagram of its own`() throws {
    try withManager { manager, socket in
      #expect(manager.isPresent)
      manager.tell(status: "loading")
      manager.tellReady()
      manager.tellStopping()
      #expect(socket.takeAll() == ["STATUS=loading", "READY=1", "STOPPING=1"])
    }
  }

  @Test func `an abstract name is told, too`() throws {
    let socket = try #require(NotificationSocket("@trestle-test-\(getpid())-notify"))
    ServiceManager(socket: socket.name, watchdogMicroseconds: nil).tellReady()
    #expect(socket.takeAll() == ["READY=1"])
  }

  @Test(arguments: [
    nil, "", "/", "@", "notify", "vsock:2:1234", "/" + String(repeating: "n", count: 200),
  ])
  func `without a name of a socket nobody is told`(_ name: String?) {
    let manager = ServiceManager(socket: name, watchdogMicroseconds: "3000000")
    #expect(!manager.isPresent)
    manager.tellReady()
    manager.tell(status: "loading")
    manager.takeTurn()
    manager.tellStopping()
  }

  @Test func `a manager that is not there ends nothing, and is told again when it is back`() throws
  {
    try withTemporaryDirectory { directory in
      let name = "\(directory)/notify"
      let manager = ServiceManager(socket: name, watchdogMicroseconds: "3000000")
      manager.tell(status: "loading")
      manager.takeTurn(at: Self.begin)
      let socket = try #require(NotificationSocket(name))
      manager.takeTurn(at: Self.begin + .seconds(1))
      #expect(socket.takeAll() == ["WATCHDOG=1"])
    }
  }

  @Test func `a sign of life is due at a third of the silence that is allowed`() throws {
    try withManager(watchdog: "3000000") { manager, socket in
      for tenth in 0...25 { manager.takeTurn(at: Self.begin + .milliseconds(100 * tenth)) }
      #expect(socket.takeAll() == ["WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"])
      manager.takeTurn(at: Self.begin + .milliseconds(2900))
      #expect(socket.takeAll().isEmpty)
      manager.takeTurn(at: Self.begin + .milliseconds(3000))
      #expect(socket.takeAll() == ["WATCHDOG=1"])
    }
  }

  @Test(arguments: [nil, "", "0", "-3", "soon", "99999999999999999999"])
  func `without a time nobody waits for signs of life`(_ watchdog: String?) throws {
    try withManager(watchdog: watchdog) { manager, socket in
      for second in 0..<5 { manager.takeTurn(at: Self.begin + .seconds(second)) }
      #expect(socket.takeAll().isEmpty)
    }
  }

  @Test func `a silence that is allowed to another process is not ours`() throws {
    try withManager(watchdog: "3000000", process: "\(getpid() + 1)") { manager, socket in
      manager.takeTurn()
      #expect(socket.takeAll().isEmpty)
    }
    try withManager(watchdog: "3000000", process: "\(getpid())") { manager, socket in
      manager.takeTurn()
      #expect(socket.takeAll() == ["WATCHDOG=1"])
    }
  }

  @Test func `the status is one line, asked for once a second, and told when it is new`() throws {
    try withManager { manager, socket in
      manager.takeTurn(at: Self.begin, status: "loading,\n0 %")
      manager.takeTurn(at: Self.begin + .milliseconds(500), status: "loading, 20 %")
      manager.takeTurn(at: Self.begin + .milliseconds(1000), status: "loading, 40 %")
      manager.takeTurn(at: Self.begin + .milliseconds(2000), status: "loading, 40 %")
      #expect(socket.takeAll() == ["STATUS=loading, 0 %", "STATUS=loading, 40 %"])
    }
  }

  @Test func `a full queue delays that it is ready, and holds up nobody`() throws {
    try withManager(watchdog: "3000000") { manager, socket in
      // More than net.unix.max_dgram_qlen may be; without a limit there the test would not end.
      for number in 0..<100_000 { manager.tell(status: "\(number)") }
      manager.tellReady()
      manager.takeTurn(at: Self.begin)
      #expect(socket.takeAll().allSatisfy { $0.hasPrefix("STATUS=") })
      manager.takeTurn(at: Self.begin)
      #expect(socket.takeAll() == ["READY=1", "WATCHDOG=1"])
      manager.takeTurn(at: Self.begin)
      #expect(socket.takeAll().isEmpty)
    }
  }
}
