// One server an endpoint, whatever the one before left behind.

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
