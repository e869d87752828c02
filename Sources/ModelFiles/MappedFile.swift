// Model files as read-only memory: a file is opened once, and each user maps the range it needs.
// What the bytes mean is GGUFFile's and SafetensorsFile's business.

internal import CLinux
import Glibc
internal import Platform

/// A regular file opened for reading, whose ranges are mapped on demand.
///
/// Mapped pages are shared with the page cache: two processes that map one model hold one copy. A
/// file that is cut short while it is mapped raises SIGBUS in its readers, as every mapped file
/// does; `clinux_tell_of_cut_files` says then which one it was. Model files are replaced by renaming,
/// not by rewriting.
package final class MappedFile: Sendable {
  package let path: String
  /// The size in bytes when the file was opened; never 0.
  package var size: Int { opened.size }
  /// What it was when it was opened.
  package let opened: FileIdentity
  private let descriptor: Int32

  /// Opens a file.
  ///
  /// - Throws: `ModelFilesError.file` if it cannot be opened, is not a regular file, or is empty.
  package static func open(_ path: String) throws(ModelFilesError) -> MappedFile {
    // O_NONBLOCK: a named pipe without a writer would block here, before it can be refused.
    let descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw ModelFilesError(.file, "cannot open: \(systemMessage(errno))", context: path)
    }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else {
      let code = errno
      _ = close(descriptor)
      throw ModelFilesError(.file, "cannot stat: \(systemMessage(code))", context: path)
    }
    let kind = status.st_mode & S_IFMT
    guard kind == S_IFREG, status.st_size > 0 else {
      _ = close(descriptor)
      let fault = kind == S_IFDIR ? "a directory" : kind == S_IFREG ? "empty" : "no regular file"
      throw ModelFilesError(.file, "is \(fault), a model file is expected", context: path)
    }
    return MappedFile(path: path, opened: FileIdentity(status), descriptor: descriptor)
  }

  private init(path: String, opened: FileIdentity, descriptor: Int32) {
    self.path = path
    self.opened = opened
    self.descriptor = descriptor
  }

  deinit { _ = close(descriptor) }

  /// Maps a range of the file.
  ///
  /// - Throws: `ModelFilesError.format` if the range is not in the file, `.file` if it cannot be mapped.
  package func region(offset: Int, count: Int) throws(ModelFilesError) -> MappedRegion {
    guard offset >= 0, count >= 0, offset <= size, count <= size - offset else {
      throw ModelFilesError(
        .format,
        "\(count) bytes at \(offset) are beyond the file's \(size)",
        context: path
      )
    }
    guard count > 0 else { return MappedRegion.empty }
    // mmap takes page-aligned offsets only: map from the page that holds the first byte.
    let lead = offset % MappedFile.pageSize
    let address = unsafe mmap(
      nil,
      lead + count,
      PROT_READ,
      MAP_SHARED,
      descriptor,
      off_t(offset - lead)
    )
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw ModelFilesError(
        .file,
        "cannot map \(count) bytes at \(offset): \(systemMessage(errno))",
        context: path
      )
    }
    return unsafe MappedRegion(
      mapping: UnsafeRawBufferPointer(start: address, count: lead + count),
      lead: lead,
      name: clinux_name_mapping(address, lead + count, path)
    )
  }

  /// Returns what the open file is now; nil if the system does not tell.
  package func identity() -> FileIdentity? {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else { return nil }
    return FileIdentity(status)
  }

  /// Reads a short range into memory, without mapping it.
  package func read(offset: Int, count: Int) throws(ModelFilesError) -> [UInt8] {
    guard offset >= 0, count >= 0, offset <= size, count <= size - offset else {
      throw ModelFilesError(
        .format,
        "\(count) bytes at \(offset) are beyond the file's \(size)",
        context: path
      )
    }
    let bytes: [UInt8]
    do throws(SystemError) {
      bytes = try PositionedIO.read(descriptor, count: count, at: offset)
    } catch {
      throw readFailure(at: offset, error)
    }
    guard bytes.count == count else { throw readFailure(at: offset + bytes.count) }
    return bytes
  }

  /// Reads a range into memory that is there.
  package func fill(
    _ buffer: UnsafeMutableRawBufferPointer,
    offset: Int
  ) throws(ModelFilesError) {
    let count: Int
    do throws(SystemError) {
      count = unsafe try PositionedIO.read(descriptor, into: buffer, at: offset)
    } catch {
      throw readFailure(at: offset, error)
    }
    guard count == buffer.count else { throw readFailure(at: offset + count) }
  }

  private func readFailure(at offset: Int, _ error: SystemError? = nil) -> ModelFilesError {
    let fault = error?.description ?? "the file has become shorter"
    return ModelFilesError(.file, "cannot read at \(offset): \(fault)", context: path)
  }

  private static let pageSize = sysconf(Int32(_SC_PAGESIZE))
}

/// A mapped range of a file, unmapped when the last user lets go of it.
// Sendable: the mapping is read-only and never changes after init.
@safe package final class MappedRegion: @unchecked Sendable {
  /// The range asked for; valid as long as this object lives.
  package let bytes: UnsafeRawBufferPointer
  /// The whole pages around it.
  private let mapping: UnsafeRawBufferPointer
  /// Under which it is known which file this is; negative for none.
  private let name: Int32

  static let empty = unsafe MappedRegion(
    mapping: UnsafeRawBufferPointer(start: nil, count: 0),
    lead: 0,
    name: -1
  )

  fileprivate init(mapping: UnsafeRawBufferPointer, lead: Int, name: Int32) {
    unsafe self.mapping = unsafe mapping
    self.name = name
    unsafe self.bytes = unsafe UnsafeRawBufferPointer(rebasing: mapping[lead...])
  }

  /// Takes the pages out of this process's memory; they come back from the file when read.
  package func discardPages() {
    guard let base = unsafe mapping.baseAddress else { return }
    _ = unsafe madvise(UnsafeMutableRawPointer(mutating: base), mapping.count, MADV_DONTNEED)
  }

  deinit {
    if let base = unsafe mapping.baseAddress {
      clinux_forget_mapping(name)
      _ = unsafe munmap(UnsafeMutableRawPointer(mutating: base), mapping.count)
    }
  }
}
