// Another user of this machine, to run the program as; only root can switch to one.

import Foundation
import Glibc
import Testing

/// A user ID without an account.
struct OtherUser {
  let id: Int

  static let mallory = OtherUser(id: 61_001)
  static let victim = OtherUser(id: 61_002)

  /// The command that starts a program as this user, without root's rights.
  var launcher: [String] {
    [Self.setpriv, "--reuid=\(id)", "--regid=\(id)", "--clear-groups", "--bounding-set=-all"]
  }

  private static let setpriv = "/usr/bin/setpriv"

  /// Runs a command as this user.
  func run(_ arguments: [String]) async throws -> Outcome {
    try await TrestleProcess.run(arguments, launcher: launcher)
  }

  /// Ends the test with a reason if it cannot switch to another user here.
  func require(sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let isPossible = geteuid() == 0 && FileManager.default.isExecutableFile(atPath: Self.setpriv)
    guard isPossible, try await run(["--version"]).status == 0 else {
      try Test.cancel(
        "needs root, setpriv, and a program that every user can run",
        sourceLocation: sourceLocation
      )
    }
  }
}
