// Where this program keeps what it can make or fetch again.

import Foundation
import Glibc
import Wire

enum UserCache {
  /// Returns the directory for one kind of things; it may not be there yet.
  ///
  /// Relative paths in the environment are passed over: they would name a place beside whatever the
  /// command is run on.
  static func directory(_ kind: String) -> String {
    let environment = ProcessInfo.processInfo.environment
    let (cache, home) = (environment["XDG_CACHE_HOME"], environment["HOME"])
    let base =
      if let cache, cache.hasPrefix("/") {
        cache
      } else if let home, home.hasPrefix("/") {
        "\(home)/.cache"
      } else {
        "\(registeredHome ?? "/nonexistent")/.cache"
      }
    return "\(base)/trestle/\(kind)"
  }

  /// This user's home in the system's list of users.
  private static var registeredHome: String? {
    guard let entry = unsafe getpwuid(geteuid()), let home = unsafe entry.pointee.pw_dir else {
      return nil
    }
    return unsafe String(cString: home)
  }

  /// Throws if others could change what is kept in a directory; one that is not there yet is fine.
  static func check(_ path: String) throws {
    _ = try TrustedDirectory.open(path, for: .cache)
  }
}
