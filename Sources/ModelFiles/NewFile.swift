// A file that is there whole or not at all: it is written beside its place, brought to disk, and takes its
// name at the end. Who has the old one open keeps that, whole.

internal import Glibc
internal import Platform

/// A file in the making, to be written front to back.
///
/// Unless it is committed, nothing of it stays, even if the process is killed: it has no name before, where the file
/// system can do that (O_TMPFILE of open(2)).
package final class NewFile {
  package let path: String
  /// Where it lies until it is committed; the ending is one that `ModelPath` takes for unfinished.
  private let temporaryPath: String
  private let descriptor: Int32
  /// Whether it has the name `temporaryPath`.
  private var isNamed = false
  /// What is not written yet.
  private var buffer: [UInt8] = []
  /// The bytes that were appended.
  package private(set) var byteCount = 0

  /// Small pieces are gathered up to this before the system is asked to write: a call costs what a
  /// few kilobytes do, and a megabyte stays in the processor's cache.
  private static let bufferByteCount = 1 << 20

  /// Begins a file that is to replace whatever is at `path`.
  ///
  /// - Throws: `ModelFilesError.file` if its directory cannot be written.
  package init(replacing path: String) throws(ModelFilesError) {
    // What a link leads to is replaced, not the link.
    let target = unsafe realpath(path, nil)
    defer { unsafe free(target) }
    let path = unsafe target.map { unsafe String(cString: $0) } ?? path
    self.path = path
    temporaryPath = "\(path).\(String(UInt32.random(in: .min ... .max), radix: 16)).part"
    let anonymous = unsafe open(
      Self.directory(of: path),
      O_WRONLY | Self.temporary | O_CLOEXEC,
      0o666
    )
    guard anonymous < 0 else {
      descriptor = anonymous
      return
    }
    descriptor = unsafe open(
      temporaryPath,
      O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
      0o666
    )
    guard descriptor >= 0 else { throw Self.failure("create", path) }
    isNamed = true
  }

  deinit {
    guard descriptor >= 0 else { return }
    close(descriptor)
    if isNamed { unsafe unlink(temporaryPath) }
  }

  /// Adds bytes at the end.
  ///
  /// - Throws: `ModelFilesError.file` if they cannot be written.
  package func append(_ bytes: UnsafeRawBufferPointer) throws(ModelFilesError) {
    byteCount += bytes.count
    guard buffer.count + bytes.count > Self.bufferByteCount else {
      unsafe buffer.append(contentsOf: bytes)
      return
    }
    try flush()
    try unsafe write(bytes)
  }

  /// Adds bytes at the end.
  ///
  /// - Throws: `ModelFilesError.file` if they cannot be written.
  package func append(_ bytes: [UInt8]) throws(ModelFilesError) {
    let result = unsafe bytes.withUnsafeBytes { bytes -> Result<Void, ModelFilesError> in
      do throws(ModelFilesError) {
        return .success(try unsafe append(bytes))
      } catch {
        return .failure(error)
      }
    }
    try result.get()
  }

  /// Adds zeros until the file's length is a multiple of `alignment`.
  ///
  /// - Throws: `ModelFilesError.file` if they cannot be written.
  package func pad(to alignment: Int) throws(ModelFilesError) {
    try append([UInt8](repeating: 0, count: (alignment - byteCount % alignment) % alignment))
  }

  /// Brings the file to disk and gives it its name.
  ///
  /// - Throws: `ModelFilesError.file` if the system fails; then what was there before is there still.
  package func commit() throws(ModelFilesError) {
    try flush()
    guard fsync(descriptor) == 0 else { throw Self.failure("write", path) }
    try takeName()
    guard unsafe rename(temporaryPath, path) == 0 else { throw Self.failure("replace", path) }
    isNamed = false
    try syncDirectory()
  }

  /// O_TMPFILE of Linux's fcntl.h, which Swift does not import: __O_TMPFILE and O_DIRECTORY.
  private static let temporary: Int32 = 0o20_000_000 | O_DIRECTORY

  /// Gives a file without a name the temporary one, since a link cannot replace what is there (linkat(2)).
  private func takeName() throws(ModelFilesError) {
    guard !isNamed else { return }
    let source = "/proc/self/fd/\(descriptor)"
    guard unsafe linkat(AT_FDCWD, source, AT_FDCWD, temporaryPath, AT_SYMLINK_FOLLOW) == 0 else {
      throw Self.failure("name", path)
    }
    isNamed = true
  }

  /// Returns the directory that a file of this path is in, as a path that ends in a slash or is a dot.
  package static func directory(of path: String) -> String {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
    return parts.isEmpty ? "." : "\(parts.joined(separator: "/"))/"
  }

  /// A new name is on disk once its directory is (fsync(2)).
  private func syncDirectory() throws(ModelFilesError) {
    let descriptor = unsafe open(Self.directory(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Self.failure("open the directory of", path) }
    defer { close(descriptor) }
    // EINVAL: "fd is bound to a special file which does not support synchronization" (fsync(2)).
    guard fsync(descriptor) == 0 || errno == EINVAL else {
      throw Self.failure("write the directory of", path)
    }
  }

  private func flush() throws(ModelFilesError) {
    let result = unsafe buffer.withUnsafeBytes { bytes -> Result<Void, ModelFilesError> in
      do throws(ModelFilesError) {
        return .success(try unsafe write(bytes))
      } catch {
        return .failure(error)
      }
    }
    try result.get()
    buffer.removeAll(keepingCapacity: true)
  }

  private func write(_ bytes: UnsafeRawBufferPointer) throws(ModelFilesError) {
    var done = 0
    while done < bytes.count {
      let put = unsafe Glibc.write(
        descriptor,
        bytes.baseAddress.map { unsafe $0 + done },
        bytes.count - done
      )
      if put < 0, errno == EINTR { continue }
      guard put > 0 else { throw Self.failure("write", path) }
      done += put
    }
  }

  private static func failure(_ what: String, _ path: String) -> ModelFilesError {
    ModelFilesError(.file, "cannot \(what) it: \(systemMessage(errno))", context: path)
  }
}
