// The kernel's small files, of which each holds one line.

internal import Foundation

enum SystemFiles {
  // A file of sysfs is at most one page.
  private static let mostBytes = 4096

  /// Returns the names in a directory, sorted; none if it cannot be read.
  static func entries(_ directory: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).sorted()
  }

  /// Returns the only line of a file; nil if it cannot be read, is not UTF-8, is empty or is longer
  /// than a name or a number.
  static func line(_ path: String) -> String? {
    guard let handle = FileHandle(forReadingAtPath: path) else { return nil }
    defer { try? handle.close() }
    guard let data = try? handle.read(upToCount: mostBytes),
      let text = String(data: data, encoding: .utf8)
    else { return nil }
    let line = text.trimmingCharacters(in: .whitespacesAndNewlines)
    return line.isEmpty || line.utf8.count > 64 ? nil : line
  }
}
