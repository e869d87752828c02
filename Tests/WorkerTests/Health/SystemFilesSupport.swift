// Directories that look like /sys.

import Foundation

/// Writes files below a directory, and the directories that they stand in.
func write(_ files: [String: String], below root: String) throws {
  for (path, text) in files {
    let file = URL(filePath: root).appending(path: path)
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(),
      withIntermediateDirectories: true
    )
    try text.write(to: file, atomically: false, encoding: .utf8)
  }
}
