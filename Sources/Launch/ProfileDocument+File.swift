// Files of profiles.

package import Coordinator
internal import Foundation

extension ProfileDocument {
  /// Reads a file of profiles.
  ///
  /// - Throws: `LaunchError` if the file cannot be read, `CoordinatorError` if it is not a profile.
  package static func read(_ path: String) throws -> ProfileDocument {
    guard let handle = FileHandle(forReadingAtPath: path) else {
      throw LaunchError(.profile, "\(path): cannot be read")
    }
    defer { try? handle.close() }
    let bytes = try handle.read(upToCount: maxByteCount + 1) ?? Data()
    return try ProfileDocument(json: bytes, context: path)
  }
}
