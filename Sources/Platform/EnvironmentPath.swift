// Where the environment says that a user's files are.

internal import Glibc

/// Returns the absolute path that a variable of the environment holds.
///
/// "All paths set in these environment variables must be absolute. If an implementation encounters a
/// relative path in any of these variables it should consider the path invalid and ignore it." (XDG
/// Base Directory Specification)
package func environmentPath(_ name: String) -> String? {
  guard let value = unsafe getenv(name) else { return nil }
  let path = unsafe String(cString: value)
  return path.hasPrefix("/") ? path : nil
}
