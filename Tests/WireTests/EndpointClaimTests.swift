// One server per endpoint, whatever an earlier server left behind.

import Foundation
import Glibc
import TestSupport
import Testing
import Wire

@Suite struct `Endpoint claim` {
  private func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

  @Test func `a served endpoint cannot be claimed again, and its server is named`() throws {
    try withTemporaryDirectory { directory in
      let endpoint = try Endpoint("ipc://\(directory)/new/front")
      let claim = try EndpointClaim(endpoint)
      let error = #expect(throws: WireError.self) { try EndpointClaim(endpoint) }
      #expect(error?.code == .addressInUse)
      #expect(error?.message.contains("process \(getpid())") == true)
      #expect(error?.message.contains("\(endpoint)") == true)
      claim.release()
      claim.release()
      try EndpointClaim(endpoint).release()
    }
  }

  @Test(
    .enabled(
      if: geteuid() == 0,
      "only root can make another user's directory"
    )
  )
  func `another user's directory is refused by name`() throws {
    try withTemporaryDirectory { directory in
      let foreign = directory + "/foreign"
      try #require(unsafe mkdir(foreign, 0o777) == 0 && chown(foreign, 12_345, 12_345) == 0)
      let error = #expect(throws: WireError.self) {
        try EndpointClaim(Endpoint("ipc://\(foreign)/front"))
      }
      #expect(error?.code == .endpoint)
      #expect(error?.message.contains("\(foreign) belongs to user 12345") == true)
    }
  }

  @Test func `its directories are for this user alone, and are removed at the end`() throws {
    try withTemporaryDirectory { directory in
      let endpoint = try Endpoint("ipc://\(directory)/new/front")
      let claim = try EndpointClaim(endpoint)
      let workers = try #require(EndpointClaim.workersDirectory(of: endpoint))
      for path in [directory + "/new", workers] {
        var status = stat()
        #expect(unsafe stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o700, "\(path)")
      }
      claim.release()
      #expect(!exists(workers))
      #expect(!exists(directory + "/new/front.lock"))
    }
  }

  @Test func `what a killed server left is removed, and a living one is left alone`() throws {
    try withTemporaryDirectory { directory in
      let endpoint = try Endpoint("ipc://\(directory)/front")
      let workers = try #require(EndpointClaim.workersDirectory(of: endpoint))
      try #require(unsafe mkdir(workers, 0o700) == 0)
      for path in ["\(directory)/front", "\(workers)/0"] { try leaveSocket(path) }
      try Data("4711\n".utf8).write(to: URL(filePath: "\(directory)/front.lock"))
      let claim = try EndpointClaim(endpoint)
      #expect(!exists("\(directory)/front"))
      #expect(!exists("\(workers)/0"))
      EndpointClaim.removeIfAbandoned(endpoint)
      #expect(exists(workers))
      claim.release()
      try leaveSocket("\(directory)/front")
      try Data("4711\n".utf8).write(to: URL(filePath: "\(directory)/front.lock"))
      EndpointClaim.removeIfAbandoned(endpoint)
      #expect(!exists("\(directory)/front"))
      #expect(!exists("\(directory)/front.lock"))
    }
  }

  /// Listens as a server does, until the descriptor is closed.
  private func listen(_ path: String) throws -> CInt {
    let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
    let status = unsafe withSocketAddress(path) { unsafe bind(descriptor, $0, $1) }
    try #require(status == 0 && Glibc.listen(descriptor, 8) == 0)
    return descriptor
  }

  @Test func `a lock that is a link is refused, and what it leads to is left alone`() throws {
    try withTemporaryDirectory { directory in
      let victim = "\(directory)/victim"
      let lock = "\(directory)/front.lock"
      let endpoint = try Endpoint("ipc://\(directory)/front")
      try Data("dear diary".utf8).write(to: URL(filePath: victim))
      for isSymbolic in [true, false] {
        let status = unsafe isSymbolic ? symlink(victim, lock) : link(victim, lock)
        try #require(status == 0)
        let error = #expect(throws: WireError.self) { try EndpointClaim(endpoint) }
        #expect(error?.code == .endpoint)
        #expect(error?.message.contains(lock) == true, "\(error as Any)")
        #expect(error?.message.contains("remove it") == true, "\(error as Any)")
        EndpointClaim.removeIfAbandoned(endpoint)
        #expect(try String(contentsOfFile: victim, encoding: .utf8) == "dear diary")
        #expect(unsafe unlink(lock) == 0)
      }
      // A pipe in its place is refused as well, without waiting for its other end.
      try #require(unsafe mkfifo(lock, 0o600) == 0)
      #expect(throws: WireError.self) { try EndpointClaim(endpoint) }
    }
  }

  @Test func `a directory of workers that is a link is refused, and its sockets stay`() throws {
    try withTemporaryDirectory { directory in
      let agent = "\(directory)/agent"
      try #require(unsafe mkdir(agent, 0o700) == 0)
      try leaveSocket("\(agent)/ssh")
      let workers = "\(directory)/front.workers"
      try #require(unsafe symlink(agent, workers) == 0)
      let endpoint = try Endpoint("ipc://\(directory)/front")
      let error = #expect(throws: WireError.self) { try EndpointClaim(endpoint) }
      #expect(error?.code == .endpoint)
      #expect(error?.message.contains("\(workers): there is a symbolic link") == true)
      EndpointClaim.removeIfAbandoned(endpoint)
      #expect(exists("\(agent)/ssh"))
      #expect(!exists("\(directory)/front.lock"), "nothing was claimed")
    }
  }

  @Test func `a directory that others may write in is refused by those who serve and who ask`()
    throws
  {
    try withTemporaryDirectory { directory in
      let open = "\(directory)/open"
      let endpoint = try Endpoint("ipc://\(open)/front")
      for mode: mode_t in [0o777, 0o770, 0o702] {
        unsafe rmdir(open)
        try #require(unsafe mkdir(open, 0o700) == 0 && chmod(open, mode) == 0)
        let context = try ZeroMQContext()
        let socket = try Socket(context, role: .router)
        defer { socket.close() }
        for attempt in [
          { _ = try EndpointClaim(endpoint) }, { _ = try endpoint.isListening() },
          { try socket.bind(endpoint) }, { try socket.connect(endpoint) },
        ] as [() throws -> Void] {
          let error = #expect(throws: WireError.self) { try attempt() }
          #expect(error?.code == .endpoint)
          #expect(error?.message.contains("\(open) can be written by others") == true)
          #expect(error?.message.contains("chmod go-w") == true)
        }
      }
      // The mode of /tmp: others can take a name before us, but cannot replace our files.
      try #require(unsafe chmod(open, 0o1777) == 0)
      try EndpointClaim(endpoint).release()
    }
  }

  @Test func `a lock that was removed does not give a live server's endpoint away`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/front"
      let endpoint = try Endpoint("ipc://\(path)")
      let claim = try EndpointClaim(endpoint)
      let server = try listen(path)
      try #require(unsafe unlink("\(path).lock") == 0)
      for _ in 0..<2 {
        let error = #expect(throws: WireError.self) { try EndpointClaim(endpoint) }
        #expect(error?.code == .addressInUse)
        #expect(error?.message.contains("process \(getpid())") == true)
        EndpointClaim.removeIfAbandoned(endpoint)
      }
      #expect(exists(path) && exists("\(path).workers"))
      // It still removes its files.
      close(server)
      claim.release()
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
    }
  }

  @Test func `who has lost its socket to another server leaves that one's alone`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/front"
      let endpoint = try Endpoint("ipc://\(path)")
      let first = try EndpointClaim(endpoint)
      try #require(unsafe unlink("\(path).lock") == 0)
      let second = try EndpointClaim(endpoint)
      let server = try listen(path)
      first.release()
      #expect(exists(path) && exists("\(path).lock") && exists("\(path).workers"))
      close(server)
      second.release()
      #expect(!exists(path))
    }
  }

  @Test(.enabled(if: geteuid() == 0, "only root can make another user's files"))
  func `another user's link, directory and socket are refused by those who ask`() throws {
    try withTemporaryDirectory { directory in
      try #require(unsafe chmod(directory, 0o1777) == 0)
      let foreign = "\(directory)/foreign"
      try #require(unsafe mkdir(foreign, 0o700) == 0 && chown(foreign, 12_345, 12_345) == 0)
      let link = "\(directory)/link"
      let own = "\(directory)/own"
      try #require(unsafe mkdir(own, 0o700) == 0 && symlink(own, link) == 0)
      #expect(try !Endpoint("ipc://\(link)/front").isListening(), "a link of our own is followed")
      try #require(unsafe lchown(link, 12_345, 12_345) == 0)
      let server = try listen("\(directory)/front")
      defer { close(server) }
      #expect(try Endpoint("ipc://\(directory)/front").isListening())
      try #require(unsafe chown("\(directory)/front", 12_345, 12_345) == 0)
      for (path, part) in [
        ("\(foreign)/front", "\(foreign) belongs to user 12345"),
        ("\(link)/front", "\(link) is a symbolic link of user 12345"),
        ("\(directory)/front", "served by user 12345"),
      ] {
        let endpoint = try Endpoint("ipc://\(path)")
        let error = #expect(throws: WireError.self) { try endpoint.isListening() }
        #expect(error?.code == .endpoint)
        #expect(error?.message.contains(part) == true, "\(error as Any)")
        #expect(throws: WireError.self) { try EndpointClaim(endpoint) }
        #expect(exists(path) == (path == "\(directory)/front"))
      }
    }
  }

  @Test func `a file that has the socket's name is kept`() throws {
    try withTemporaryDirectory { directory in
      let diary = "\(directory)/diary"
      try Data("dear diary".utf8).write(to: URL(filePath: diary))
      try EndpointClaim(Endpoint("ipc://\(diary)")).release()
      #expect(try String(contentsOfFile: diary, encoding: .utf8) == "dear diary")
    }
  }

  @Test func `a directory that is a file is named`() throws {
    try withTemporaryDirectory { directory in
      try Data().write(to: URL(filePath: "\(directory)/file"))
      let error = #expect(throws: WireError.self) {
        try EndpointClaim(Endpoint("ipc://\(directory)/file/front"))
      }
      #expect(error?.code == .endpoint)
      #expect(error?.message.contains("\(directory)/file") == true)
    }
  }

  @Test func `tcp has nothing to claim`() throws {
    let endpoint = try Endpoint("tcp://127.0.0.1:5555")
    _ = try EndpointClaim(endpoint)
    _ = try EndpointClaim(endpoint)
    #expect(EndpointClaim.workersDirectory(of: endpoint) == nil)
  }
}
