// A file while it is fetched: its bytes, with holes, and beside it which blocks are there. Both stay when the process
// ends, and the next one goes on.

internal import Glibc
internal import ModelFiles
internal import Platform

/// A file that is written in any order.
///
/// Another process must not have it at the same time: see `FileLock`.
final class PartialFile: Sendable {
  static let blockByteCount = 1 << 20
  /// What follows the content's name.
  ///
  /// Other programs continue files of their own endings at their ends, which would
  /// make a model of one with holes.
  static let dataSuffix = ModelPath.downloadSuffix
  static let marksSuffix = ".trestle-done"

  let byteCount: Int
  private let path: String
  private let data: CInt
  private let marks: CInt
  private let done: Lock<[Bool]>

  /// Opens or makes the file.
  ///
  /// - Parameters:
  ///   - path: The path that the file will have when it is whole.
  ///   - byteCount: Its size then.
  /// - Throws: `HubError.file`.
  init(_ path: String, byteCount: Int) throws(HubError) {
    self.path = path
    self.byteCount = byteCount
    let blockCount = (byteCount + Self.blockByteCount - 1) / Self.blockByteCount
    let dataPath = path + Self.dataSuffix
    data = try Self.open(dataPath)
    do throws(HubError) { marks = try Self.open(path + Self.marksSuffix) } catch {
      close(data)
      throw error
    }
    if let known = Self.known(data, marks, byteCount: byteCount) {
      done = Lock(known)
    } else {
      done = Lock(Array(repeating: false, count: blockCount))
      guard ftruncate(data, 0) == 0, ftruncate(marks, 0) == 0, ftruncate(marks, blockCount) == 0
      else { throw HubError(cannot: "write it", dataPath) }
    }
  }

  deinit {
    close(data)
    close(marks)
  }

  private static func open(_ path: String) throws(HubError) -> CInt {
    let descriptor = unsafe Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
    guard descriptor >= 0 else { throw HubError(cannot: "write it", path) }
    return descriptor
  }

  private func write(
    _ bytes: [UInt8],
    to descriptor: CInt,
    at offset: Int,
    _ suffix: String
  ) throws(HubError) {
    do throws(SystemError) { try PositionedIO.write(bytes, to: descriptor, at: offset) } catch {
      throw HubError(cannot: "write it", path + suffix, error.number)
    }
  }

  /// Which bytes are not there yet, block by block.
  var missing: [Range<Int>] {
    done.withLock { done in
      done.indices.filter { !done[$0] }.map(bytes(of:))
    }
  }

  /// How many bytes are there.
  var presentByteCount: Int { byteCount - missing.reduce(0) { $0 + $1.count } }

  /// Returns how many bytes an earlier download has left of a file, which is not opened for that.
  static func presentByteCount(_ path: String, byteCount: Int) -> Int {
    let descriptors = [dataSuffix, marksSuffix].map { suffix in
      unsafe Glibc.open(path + suffix, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    }
    defer { for descriptor in descriptors where descriptor >= 0 { close(descriptor) } }
    guard descriptors.allSatisfy({ $0 >= 0 }) else { return 0 }
    let done = known(descriptors[0], descriptors[1], byteCount: byteCount) ?? []
    return done.indices.reduce(0) {
      $0 + (done[$1] ? bytes(of: $1, byteCount: byteCount).count : 0)
    }
  }

  /// Returns which blocks an earlier download has left; nil if that is not known.
  private static func known(_ data: CInt, _ marks: CInt, byteCount: Int) -> [Bool]? {
    let blockCount = (byteCount + blockByteCount - 1) / blockByteCount
    let known = try? PositionedIO.read(marks, count: blockCount + 1, at: 0)
    guard let known, known.count == blockCount else { return nil }
    // Marks without the bytes that they are about say nothing.
    let size = lseek(data, 0, SEEK_END)
    let last = known.lastIndex(of: 1) ?? -1
    guard size >= min((last + 1) * blockByteCount, byteCount), size <= byteCount else { return nil }
    return known.map { $0 == 1 }
  }

  func isPresent(block: Int) -> Bool { done.withLock { $0[block] } }

  func bytes(of block: Int) -> Range<Int> { Self.bytes(of: block, byteCount: byteCount) }

  private static func bytes(of block: Int, byteCount: Int) -> Range<Int> {
    let first = block * blockByteCount
    return first..<min(first + blockByteCount, byteCount)
  }

  /// Writes bytes at an offset.
  ///
  /// - Throws: `HubError.space` if the disk is full, `HubError.file`.
  func write(_ bytes: [UInt8], at offset: Int) throws(HubError) {
    try write(bytes, to: data, at: offset, Self.dataSuffix)
  }

  /// Notes that all bytes of a block have been written.
  func mark(block: Int) throws(HubError) {
    try write([1], to: marks, at: block, Self.marksSuffix)
    done.withLock { $0[block] = true }
  }

  /// Reads the bytes of a block.
  func read(block: Int) throws(HubError) -> [UInt8] {
    let range = bytes(of: block)
    let bytes: [UInt8]
    do throws(SystemError) {
      bytes = try PositionedIO.read(data, count: range.count, at: range.lowerBound)
    } catch {
      throw HubError(cannot: "read it", path + Self.dataSuffix, error.number)
    }
    guard bytes.count == range.count else {
      throw HubError(.file, "it has become shorter", context: path + Self.dataSuffix)
    }
    return bytes
  }

  /// Brings the file to disk and gives it its name.
  func commit() throws(HubError) {
    guard ftruncate(data, byteCount) == 0, fsync(data) == 0,
      unsafe rename(path + Self.dataSuffix, path) == 0
    else { throw HubError(cannot: "write it", path) }
    unsafe unlink(path + Self.marksSuffix)
  }

  /// Removes it.
  func discard() {
    unsafe unlink(path + Self.marksSuffix)
    unsafe unlink(path + Self.dataSuffix)
  }
}

/// Keeps a file from two processes that would fetch it at once: the lock of huggingface_hub (filelock, flock(2)).
final class FileLock {
  private let descriptor: CInt

  /// Waits until the lock is free.
  ///
  /// - Parameters:
  ///   - path: The file that is locked; it is made, and stays.
  ///   - cancellation: Ends the wait.
  ///   - onWait: Called once if somebody else has the lock.
  /// - Throws: `HubError.file`, or `HubError.interrupted`.
  init(_ path: String, cancellation: Cancellation, onWait: () -> Void) throws(HubError) {
    descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o644)
    guard descriptor >= 0 else {
      throw HubError(cannot: "open it", path)
    }
    var hasTold = false
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR else {
        throw HubError(cannot: "lock it", path)
      }
      guard !cancellation.isCancelled else {
        throw HubError(.interrupted, "interrupted", context: path)
      }
      if !hasTold { onWait() }
      hasTold = true
      usleep(50_000)
    }
  }

  deinit { close(descriptor) }
}
