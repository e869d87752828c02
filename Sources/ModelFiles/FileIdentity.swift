// Which file something is and since when it has been as it is, by what the system keeps of it.

internal import Glibc

/// What changes when a file's bytes do, without reading them.
package struct FileIdentity: Sendable, Hashable {
  package var device: UInt64
  package var inode: UInt64
  package var size: Int
  /// When its bytes were last written, in nanoseconds.
  package var modified: Int64
  /// When its bytes or its entry were last changed, in nanoseconds; no program can set it.
  package var changed: Int64

  init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    size = Int(status.st_size)
    modified = Self.nanoseconds(status.st_mtim)
    changed = Self.nanoseconds(status.st_ctim)
  }

  private static func nanoseconds(_ time: timespec) -> Int64 {
    Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
  }

  /// Whether another look at the same open file shows other bytes, as far as can be told unread.
  ///
  /// Renaming and linking change `changed` alone.
  func hasBytes(of other: FileIdentity) -> Bool {
    size == other.size && modified == other.modified
  }
}

/// What has become of an open model file.
package struct FileChange: Sendable, Hashable {
  package enum Kind: Sendable, Hashable {
    /// Shorter than it was: reading what is mapped ends a process.
    case cut
    /// Written to, or longer; perhaps the bytes are the same again.
    case written
    /// Its path leads to another file, or to none. Who has it open has the old one whole.
    case replaced
  }

  package var kind: Kind
  package var path: String
  /// What happened, in a sentence that names the file.
  package var message: String
  /// What is there now; nil if nothing is.
  package var now: FileIdentity?
}

extension MappedFile {
  /// Tells what has happened to the file since it was opened; nil if nothing has.
  package func change() -> FileChange? {
    if let now = identity() {
      if now.size < opened.size {
        return FileChange(
          kind: .cut,
          path: path,
          message: "\(path) was cut from \(opened.size) to \(now.size) bytes",
          now: now
        )
      }
      if !now.hasBytes(of: opened) {
        return FileChange(
          kind: .written,
          path: path,
          message: "\(path) was written to",
          now: now
        )
      }
    }
    var status = stat()
    guard unsafe stat(path, &status) == 0 else {
      guard errno == ENOENT else { return nil }
      return FileChange(kind: .replaced, path: path, message: "\(path) was removed")
    }
    let there = FileIdentity(status)
    guard there.inode != opened.inode || there.device != opened.device else { return nil }
    return FileChange(
      kind: .replaced,
      path: path,
      message: "\(path) was replaced by another file",
      now: there
    )
  }
}
