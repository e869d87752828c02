// Digests of model files that were computed once, kept for as long as the files are what they were.
//
//   DIRECTORY/DEVICE-INODE-KIND
//     magic | device inode size modified changed | count | count × (offset, size, digest) | digest of all this
//
// All numbers have 64 bits, little-endian. What is not whole, not this user's or not of the file as it
// is now counts as absent: then the file is read again.

internal import Content
internal import Foundation
internal import Glibc
internal import Platform

/// Digests of ranges of files, on disk.
package struct DigestStore: Sendable {
  /// What the ranges are.
  package enum Kind: String, Sendable {
    /// Tensors.
    case tensors
    /// Pieces of one size, from the start to the end.
    case pieces
  }

  private static let magic = Array("trestle1".utf8)
  private static let entryByteCount = 16 + Digest.byteCount
  /// Ranges of one file: a terabyte in pieces of 256 KiB.
  private static let maxEntries = 1 << 22
  /// The clock of a file system goes in steps, of 10 ms at most on Linux (CONFIG_HZ).
  ///
  /// A file that changed within one before it was read may change again with no later time.
  private static let clockStep: Int64 = 20_000_000

  private let directory: String

  /// Keeps digests in a directory, which is made when there is something to keep.
  package init(directory: String) { self.directory = directory }

  private func path(_ file: FileIdentity, _ kind: Kind) -> String {
    "\(directory)/\(file.device)-\(file.inode)-\(kind.rawValue)"
  }

  private static func header(_ file: FileIdentity, count: Int) -> [UInt8] {
    magic
      + [
        file.device, file.inode, UInt64(file.size), UInt64(bitPattern: file.modified),
        UInt64(bitPattern: file.changed), UInt64(count),
      ].flatMap(bytes)
  }

  private static func bytes(_ number: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
  }

  /// Returns what is kept of a file; nothing if it has changed since.
  func digests(of file: FileIdentity, _ kind: Kind) -> [Range<Int>: Digest] {
    guard let bytes = read(path(file, kind)) else { return [:] }
    let headerCount = Self.header(file, count: 0).count
    let rest = bytes.count - headerCount - Digest.byteCount
    guard rest >= 0, rest.isMultiple(of: Self.entryByteCount) else { return [:] }
    let count = rest / Self.entryByteCount
    let body = bytes.dropLast(Digest.byteCount)
    guard bytes.starts(with: Self.header(file, count: count)),
      Digest(of: Array(body)).bytes.elementsEqual(bytes.suffix(Digest.byteCount))
    else { return [:] }
    var digests: [Range<Int>: Digest] = [:]
    for index in 0..<count {
      let entry = body.dropFirst(headerCount + index * Self.entryByteCount)
      let offset = Self.number(entry.prefix(8))
      let size = Self.number(entry.dropFirst(8).prefix(8))
      guard let digest = Digest(bytes: Array(entry.dropFirst(16).prefix(Digest.byteCount))),
        offset >= 0, size >= 0, offset <= file.size, size <= file.size - offset
      else { return [:] }
      digests[offset..<(offset + size)] = digest
    }
    return digests
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> Int {
    Int(bitPattern: UInt(bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }))
  }

  /// Keeps what was computed of a file, if its times can tell that it has not changed since.
  ///
  /// That it cannot be kept costs time at the next start and nothing else, so nobody is told.
  ///
  /// - Parameters:
  ///   - digests: Digests of its ranges.
  ///   - file: What it was before it was read, and after.
  ///   - kind: What the ranges are.
  ///   - began: When reading began, in nanoseconds of the wall clock.
  func keep(
    _ digests: [Range<Int>: Digest],
    of file: FileIdentity,
    _ kind: Kind,
    readSince began: Int64
  ) {
    guard file.changed < began - Self.clockStep, file.modified < began - Self.clockStep,
      digests.count <= Self.maxEntries
    else { return }
    var bytes = Self.header(file, count: digests.count)
    bytes.reserveCapacity(bytes.count + digests.count * Self.entryByteCount + Digest.byteCount)
    for (range, digest) in digests.sorted(by: { $0.key.lowerBound < $1.key.lowerBound }) {
      bytes += Self.bytes(UInt64(range.lowerBound)) + Self.bytes(UInt64(range.count))
      bytes += digest.bytes
    }
    bytes += Digest(of: bytes).bytes
    let target = path(file, kind)
    do {
      try FileManager.default.createDirectory(
        atPath: directory,
        withIntermediateDirectories: true,
        attributes: [.posixPermissions: 0o700]
      )
    } catch {
      return
    }
    // Whole or not at all, also beside others that write the same.
    let temporary = "\(target).\(getpid())"
    guard write(bytes, to: temporary) else {
      unsafe unlink(temporary)
      return
    }
    if unsafe rename(temporary, target) != 0 { unsafe unlink(temporary) }
  }

  private func write(_ bytes: [UInt8], to path: String) -> Bool {
    let flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW
    let descriptor = unsafe open(path, flags, 0o600)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var done = 0
    while done < bytes.count {
      let put = unsafe bytes.withUnsafeBytes { buffer in
        unsafe Glibc.write(
          descriptor,
          buffer.baseAddress.map { unsafe $0 + done },
          bytes.count - done
        )
      }
      if put < 0, errno == EINTR { continue }
      guard put > 0 else { return false }
      done += put
    }
    return true
  }

  /// Reads a file; nil if it does not belong to this user or is too large to be one of these.
  private func read(_ path: String) -> [UInt8]? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
      status.st_uid == geteuid(), status.st_mode & 0o022 == 0,
      status.st_size <= Self.maxEntries * Self.entryByteCount + 4096
    else { return nil }
    let bytes = try? PositionedIO.read(descriptor, count: Int(status.st_size), at: 0)
    return bytes?.count == Int(status.st_size) ? bytes : nil
  }
}
