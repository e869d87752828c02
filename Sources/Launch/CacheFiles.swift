// Files that this program can make again, in a directory of the user's cache that nobody else can change.

internal import Wire
package import Foundation

/// The files of one kind.
package struct CacheFiles: Sendable {
  private let directory: URL

  /// The directory may not exist yet.
  package init(directory: String) { self.directory = URL(filePath: directory) }

  /// Returns the path of a file; nil if there is none.
  ///
  /// - Throws: `WireError` if others could have changed it.
  package func path(of name: String) throws -> String? {
    let path = directory.appending(path: name).path
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    _ = try TrustedDirectory.open(directory.path, for: .cache)
    return path
  }

  /// Writes a file, in the place of one that was there.
  ///
  /// - Throws: `WireError` if others can change the directory; the file system's own error if it cannot
  ///   be written.
  package func write(_ data: Data, as name: String) throws {
    try FileManager.default.createDirectory(
      at: directory,
      withIntermediateDirectories: true,
      attributes: [.posixPermissions: 0o700]
    )
    _ = try TrustedDirectory.open(directory.path, for: .cache)
    try data.write(to: directory.appending(path: name), options: .atomic)
  }
}
