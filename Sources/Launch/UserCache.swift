// Where this program keeps what it can make or fetch again.

internal import Glibc
internal import Platform
internal import Wire

/// The user's cache.
package enum UserCache {
  /// Returns the directory for one kind of things; it may not be there yet.
  ///
  /// Never one that depends on where the command is run: a relative `HOME` is passed over for the
  /// home directory that the system knows.
  package static func directory(_ kind: String) -> String {
    let base =
      environmentPath("XDG_CACHE_HOME")
      ?? (environmentPath("HOME") ?? systemHome).map { $0 + "/.cache" } ?? "/nonexistent"
    return base + "/trestle/\(kind)"
  }

  /// The home directory of the user database.
  private static var systemHome: String? {
    guard let entry = unsafe getpwuid(getuid()), let home = unsafe entry.pointee.pw_dir else {
      return nil
    }
    let path = unsafe String(cString: home)
    return path.hasPrefix("/") ? path : nil
  }
}
