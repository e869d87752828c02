// The directories in which this program caches what it can compute or fetch again.

internal import Glibc
internal import Platform
internal import Wire

/// The user's cache.
package enum UserCache {
  /// Returns the directory for one kind of files; it may not exist yet.
  ///
  /// The result never depends on the working directory: if `HOME` is relative, the home directory
  /// of the user database is used.
  package static func directory(_ kind: String) -> String {
    let base =
      environmentPath("XDG_CACHE_HOME")
      ?? home.map { $0 + "/.cache" } ?? "/nonexistent"
    return base + "/trestle/\(kind)"
  }

  /// The user's home directory; nil if there is none.
  package static var home: String? { environmentPath("HOME") ?? systemHome }

  /// The home directory in the user database.
  private static var systemHome: String? {
    guard let entry = unsafe getpwuid(getuid()), let home = unsafe entry.pointee.pw_dir else {
      return nil
    }
    let path = unsafe String(cString: home)
    return path.hasPrefix("/") ? path : nil
  }
}
