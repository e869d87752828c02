// A directory of a test's own, for files and for ipc:// sockets.

import Foundation

/// Calls the body with the path of a new directory that only this user may enter (0700), and
/// removes the directory with all it holds afterwards, whatever the body does.
///
/// The path is short: the kernel allows an ipc:// socket 107 bytes.
package func withTemporaryDirectory<Result>(
  _ body: (_ path: String) throws -> Result
) throws -> Result {
  let path = try makeTemporaryDirectory()
  defer { try? FileManager.default.removeItem(atPath: path) }
  return try body(path)
}

/// As the synchronous one, for a body that waits.
package func withTemporaryDirectory<Result>(
  isolation: isolated (any Actor)? = #isolation,
  _ body: (_ path: String) async throws -> Result
) async throws -> Result {
  let path = try makeTemporaryDirectory()
  defer { try? FileManager.default.removeItem(atPath: path) }
  return try await body(path)
}

private func makeTemporaryDirectory() throws -> String {
  let path = FileManager.default.temporaryDirectory
    .appending(path: "trestle-\(UUID().uuidString.prefix(8))").path
  try FileManager.default.createDirectory(
    atPath: path,
    withIntermediateDirectories: false,
    attributes: [.posixPermissions: 0o700]
  )
  return path
}
