// The directory of a private pipeline's sockets. It is made for one command and removed at its end;
// if the command is killed, a later one removes it.

internal import Glibc
internal import Platform
internal import Wire

enum PrivateDirectory {
  private static let prefix = "trestle-"
  /// What mkdtemp(3) puts in place of the X's.
  private static let template = "XXXXXX"
  /// In seconds.
  ///
  /// An empty directory of at least this age is not one that a command has just made and is about
  /// to fill.
  private static let leastAge = 60
  /// The longest name of a socket in it, with the slash; workers' sockets are `front.workers/PID`.
  private static let socketNameBytes = 24

  /// Makes a new directory, for this user alone, in `TMPDIR` or /tmp.
  ///
  /// - Throws: `LaunchError` that names the directory in which it could not be made.
  static func make() throws(LaunchError) -> String {
    let parent = parent
    removeLeftovers(in: parent)
    var path = Array("\(parent)/\(prefix)\(template)".utf8CString)
    guard let made = unsafe mkdtemp(&path) else {
      let reason = systemMessage(errno)
      throw LaunchError(.system, "cannot make a directory in \(parent): \(reason)")
    }
    return unsafe String(cString: made)
  }

  /// `TMPDIR`, unless it is relative or too long for the address of a socket.
  private static var parent: String {
    guard let value = unsafe getenv("TMPDIR") else { return "/tmp" }
    let path = unsafe String(cString: value)
    let longest =
      Limits.socketPathBytes - prefix.utf8.count - template.utf8.count - 1 - socketNameBytes
    return path.hasPrefix("/") && path.utf8.count <= longest ? path : "/tmp"
  }

  /// Removes the directories that killed commands of this user have left.
  ///
  /// Their workers have removed the sockets.
  ///
  /// Directories that are not empty are kept, because `rmdir` refuses them.
  private static func removeLeftovers(in parent: String) {
    guard let entries = unsafe opendir(parent) else { return }
    defer { unsafe closedir(entries) }
    while let entry = unsafe readdir(entries) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { field in
        unsafe String(cString: UnsafeRawPointer(field).assumingMemoryBound(to: CChar.self))
      }
      guard name.hasPrefix(prefix), name.utf8.count == prefix.utf8.count + template.utf8.count
      else { continue }
      let path = "\(parent)/\(name)"
      var status = stat()
      guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR,
        status.st_uid == geteuid(), time(nil) - status.st_mtim.tv_sec > leastAge
      else { continue }
      unsafe rmdir(path)
    }
  }
}
