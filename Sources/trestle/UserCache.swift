// Where this program keeps what it can make or fetch again.

import Foundation

enum UserCache {
  /// Returns the directory for one kind of things; it may not be there yet.
  static func directory(_ kind: String) -> String {
    let environment = ProcessInfo.processInfo.environment
    let base =
      environment["XDG_CACHE_HOME"].flatMap { $0.hasPrefix("/") ? URL(filePath: $0) : nil }
      ?? FileManager.default.homeDirectoryForCurrentUser.appending(path: ".cache")
    return base.appending(path: "trestle/\(kind)").path
  }
}
