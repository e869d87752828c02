// Paths to the user's files that the environment names.

internal import Glibc

/// Returns the absolute path that an environment variable holds; nil if it is unset or relative.
///
/// "All paths set in these environment variables must be absolute. If an implementation encounters a
/// relative path in any of these variables it should consider the path invalid and ignore it." (XDG
/// Base Directory Specification)
package func environmentPath(_ name: String) -> String? {
  guard let value = unsafe getenv(name) else { return nil }
  let path = unsafe String(cString: value)
  return path.hasPrefix("/") ? path : nil
}
