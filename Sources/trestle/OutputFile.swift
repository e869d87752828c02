// The output file of a command. A regular file is replaced atomically; anything else is written
// into.

// With SwiftNIO loaded, the compiler takes `stat` to be of this module.
import CDispatch
import Glibc
import ModelFiles
import Platform

/// Refuses a path at which no file can be made, before the work begins whose result it is to hold.
func checkWritable(_ path: String) throws {
  var status = stat()
  if unsafe stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
    let isDirectory = status.st_mode & S_IFMT == S_IFDIR
    throw CommandError(
      "cannot write \(path): it is \(isDirectory ? "a directory" : "a pipe or a device"); give the name of a file"
    )
  }
  // A file in the making has a longer name.
  if unsafe lstat(path + ".01234567.part", &status) != 0, errno == ENAMETOOLONG {
    throw CommandError("cannot write \(path): \(systemMessage(ENAMETOOLONG))")
  }
  guard unsafe access(NewFile.directory(of: path), W_OK | X_OK) == 0 else {
    throw CommandError("cannot write \(path): \(systemMessage(errno))")
  }
}

/// A file that the user has named, while it is written.
///
/// A regular file is replaced when all has been written, so that a reader finds either the old one
/// or the complete new one. A link, a pipe or a device is opened and written into, and not
/// replaced.
final class OutputFile {
  let path: String
  private let descriptor: CInt
  /// The temporary file that will replace the file; nil if the file is written directly.
  private let draft: String?

  /// - Throws: `CommandError` naming the file if it cannot be written.
  init(_ path: String) throws {
    self.path = path
    var status = stat()
    let isThere = unsafe lstat(path, &status) == 0
    guard isThere || errno == ENOENT else { throw Self.failure(path, errno) }
    if isThere, status.st_mode & S_IFMT != S_IFREG {
      draft = nil
      descriptor = try Self.openInPlace(path)
      return
    }
    // An existing file keeps its mode.
    let mode = isThere ? status.st_mode & 0o7777 : 0o666
    let draft = "\(path).new-\(getpid())"
    unsafe unlink(draft)
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
    let made = unsafe open(draft, flags, mode)
    if made >= 0 {
      if isThere { fchmod(made, mode) }
      self.draft = draft
      descriptor = made
    } else if isThere, errno == EACCES || errno == EROFS || errno == EPERM {
      // The file is writable, but its directory is not.
      self.draft = nil
      descriptor = try Self.openInPlace(path)
    } else {
      throw Self.failure(path, errno)
    }
  }

  deinit {
    close(descriptor)
    if let draft { unsafe unlink(draft) }
  }

  /// Opens an existing file without waiting for the reader of a pipe.
  ///
  /// "ENXIO: O_NONBLOCK | O_WRONLY is set, the named file is a FIFO, and no process has the FIFO open
  /// for reading" (open(2)).
  private static func openInPlace(_ path: String) throws -> CInt {
    let flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK
    let opened = unsafe open(path, flags, 0o666)
    guard opened >= 0 else {
      if errno == ENXIO { throw CommandError("cannot write \(path): nobody reads this pipe") }
      throw failure(path, errno)
    }
    _ = fcntl(opened, F_SETFL, fcntl(opened, F_GETFL) & ~O_NONBLOCK)
    return opened
  }

  private static func failure(_ path: String, _ code: CInt) -> CommandError {
    CommandError("cannot write \(path): \(systemMessage(code))")
  }

  /// - Throws: `CommandError` naming the file.
  func write(_ bytes: UnsafeRawBufferPointer) throws {
    var written = 0
    while written < bytes.count {
      let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[written...])
      let count = unsafe Glibc.write(descriptor, rest.baseAddress, rest.count)
      if count >= 0 {
        written += count
      } else if errno != EINTR {
        throw Self.failure(path, errno)
      }
    }
  }

  /// Completes the file, and replaces the old one by it.
  ///
  /// - Throws: `CommandError` naming the file if it may be incomplete.
  func finish() throws {
    if let draft {
      // A full disk may be reported only here.
      guard fsync(descriptor) == 0, unsafe rename(draft, path) == 0 else {
        throw Self.failure(path, errno)
      }
    } else if fsync(descriptor) != 0, errno != EINVAL, errno != EROFS {
      // EINVAL is returned for a pipe or a device, which stores nothing.
      throw Self.failure(path, errno)
    }
  }
}
