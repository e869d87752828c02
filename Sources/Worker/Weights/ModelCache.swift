// A worker's local cache of some of a model's files: sparse files of the full size, with holes
// where nothing was pulled, and beside each the list of digests of its pieces.
//
//   ROOT/MODEL/               MODEL is the digest of the description, so of every byte of the files
//     files/NAME      piece 0 | hole | piece 2 | …           as in the model, 256 KiB a piece
//     digests/NAME    digest 0 | digest 1 | …                32 bytes a piece; itself in pieces
//
// The description holds the digests of the digest lists, and each list holds the digests of the
// pieces. A piece is trusted only after it was read and compared, so nobody can store other bytes
// under this name, whichever coordinator sent them. No lock and no order of writes is needed: a
// hole or a half-written piece counts as missing, and two workers that pull the same piece write
// the same bytes.

internal import Content
internal import Foundation
internal import Glibc
internal import Platform
internal import Wire

/// The local copy of the files of one model.
final class ModelCache: Sendable {
  /// The result of inspecting some pieces.
  struct Contents {
    var missing: [ChunkID] = []
    /// How many of the missing pieces are present with bytes that do not match their digest.
    var damagedCount = 0
  }

  let description: ModelDescription
  private let directory: String
  private let files: [CacheFile]
  /// The pieces that this process has read and compared, or written.
  private let verified = Lock<Set<ChunkID>>([])
  /// The pieces of digest lists that this process has compared, by their ID.
  private let lists = Lock<[ChunkID: [UInt8]]>([:])

  /// Creates or opens the local cache.
  ///
  /// - Throws: `WorkerError` if the description is not valid or the files cannot be made.
  init(root: String, _ description: ModelDescription) throws(WorkerError) {
    try Self.check(description)
    self.description = description
    directory = "\(root)/\(description.model)"
    for path in [directory, "\(directory)/files", "\(directory)/digests"] {
      do {
        try FileManager.default.createDirectory(
          atPath: path,
          withIntermediateDirectories: true,
          attributes: [.posixPermissions: 0o700]
        )
        // A piece that was compared once is read again later, so no other user may change it in
        // between.
        _ = try TrustedDirectory.open(path, for: .cache)
      } catch let error as WireError {
        throw WorkerError(.weights, error.message)
      } catch {
        throw WorkerError(.weights, "cannot make \(path)", underlying: error)
      }
    }
    var files: [CacheFile] = []
    for file in description.files { files.append(try CacheFile(file, in: directory)) }
    self.files = files
  }

  /// The path to open as the model.
  var modelPath: String {
    description.isDirectory
      ? "\(directory)/files" : "\(directory)/files/\(description.files[0].name)"
  }

  /// Refuses an invalid description: names that lead out of the directory, impossible sizes, or a
  /// digest that does not match.
  private static func check(_ description: ModelDescription) throws(WorkerError) {
    let files = description.files
    let names = files.map(\.name)
    let areNames = names.allSatisfy { name in
      !name.isEmpty && name != "." && name != ".." && !name.utf8.contains(UInt8(ascii: "/"))
        && !name.utf8.contains(0)
    }
    // Each file is at most 4 TiB and there are at most 2048, so the sum cannot overflow.
    let size = files.reduce(0) { $0 + $1.size }
    let headerSize = files.reduce(0) { $0 + $1.headerBytes }
    let fault: String? =
      if !areNames || Set(names).count != names.count || names.isEmpty
        || !description.isDirectory && names.count != 1
      {
        "its file names \(names.prefix(8)) are not those of a model"
      } else if let empty = files.first(where: { $0.size == 0 }) {
        "\(empty.name) is empty"
      } else if size > Limits.modelBytes {
        "its files have \(size) bytes, more than the limit of \(Limits.modelBytes)"
      } else if headerSize > Limits.modelHeaderBytes {
        "its headers have \(headerSize) bytes, more than the limit of \(Limits.modelHeaderBytes)"
      } else if let odd = files.first(where: { $0.digests.count != $0.digestChunkCount }) {
        "\(odd.name) has \(odd.digests.count) digests, not \(odd.digestChunkCount)"
      } else if description.root != description.model {
        "its digest is \(description.root), not \(description.model)"
      } else {
        nil
      }
    guard let fault else { return }
    throw WorkerError(.weights, "the coordinator's description of its model is not valid: \(fault)")
  }
}

// MARK: Pieces

extension ModelCache {
  /// The pieces that hold the files' headers, which say where the tensors are.
  var headerChunks: [ChunkID] {
    description.files.enumerated().flatMap { index, file in
      chunks(of: index, 0..<Int(file.headerBytes))
    }
  }

  /// Returns the pieces that hold a range of a file.
  func chunks(of file: Int, _ bytes: Range<Int>) -> [ChunkID] {
    guard !bytes.isEmpty else { return [] }
    let (first, last) = (bytes.lowerBound, bytes.upperBound - 1)
    return (first / Limits.chunkBytes...last / Limits.chunkBytes)
      .map { ChunkID(file: file, chunk: $0) }
  }

  /// Returns the pieces of digest lists that hold the digests of some pieces.
  func digestChunks(of ids: [ChunkID]) -> [ChunkID] {
    Set(ids.map(Self.digestChunk(of:))).sorted()
  }

  private static func digestChunk(of id: ChunkID) -> ChunkID {
    ChunkID(file: id.file, chunk: id.chunk / Limits.digestsPerChunk, isOfDigests: true)
  }

  /// Returns the size of a piece in bytes.
  func byteCount(_ id: ChunkID) -> Int { description.files[id.file].range(of: id).count }

  /// Whether all these pieces are here and were compared.
  func holds(_ ids: [ChunkID]) -> Bool {
    verified.withLock { verified in ids.allSatisfy(verified.contains) }
  }

  /// Returns the digest that a piece must have; nil while the list that holds it is not here.
  private func digest(of id: ChunkID) -> Digest? {
    if id.isOfDigests { return description.files[id.file].digests[id.chunk] }
    guard let list = lists.withLock({ $0[Self.digestChunk(of: id)] }) else { return nil }
    let start = id.chunk % Limits.digestsPerChunk * Digest.byteCount
    return Digest(bytes: Array(list[start..<(start + Digest.byteCount)]))
  }

  /// Reads and compares pieces, and returns those that are missing.
  ///
  /// - Parameters:
  ///   - ids: The pieces; the list pieces with their digests must have been inspected and stored
  ///     before.
  ///   - each: Called before each piece; may throw to stop.
  /// - Returns: The missing pieces.
  /// - Throws: What `each` throws, or `WorkerError` if the files cannot be read.
  func inspect(
    _ ids: [ChunkID],
    each: () throws -> Void
  ) throws -> Contents {
    var contents = Contents()
    for id in ids {
      try each()
      if holds([id]) { continue }
      let data = try files[id.file].read(id)
      if isRight(data, id) {
        remember(data, id)
      } else {
        // A hole reads as zeros, and so does a range that was never written.
        if data.contains(where: { $0 != 0 }) { contents.damagedCount += 1 }
        contents.missing.append(id)
      }
    }
    return contents
  }

  /// Whether these bytes match the digest of a piece.
  func isRight(_ data: [UInt8], _ id: ChunkID) -> Bool {
    data.count == byteCount(id) && digest(of: id) == Digest(of: data)
  }

  /// Stores a piece whose bytes match its digest.
  ///
  /// - Throws: `WorkerError` that names the directory, if it cannot be written.
  func store(_ chunk: Chunk) throws(WorkerError) {
    try files[chunk.id.file].write(chunk)
    remember(chunk.data, chunk.id)
  }

  private func remember(_ data: [UInt8], _ id: ChunkID) {
    if id.isOfDigests { lists.withLock { $0[id] = data } }
    verified.withLock { _ = $0.insert(id) }
  }

  /// Checks that the disk has room for `byteCount` more bytes.
  ///
  /// - Throws: `WorkerError` that names the directory and how many bytes are lacking.
  func reserve(_ byteCount: Int) throws(WorkerError) {
    var status = statvfs()
    guard unsafe statvfs(directory, &status) == 0 else { return }
    let free = Int(
      clamping: UInt64(status.f_bavail).multipliedReportingOverflow(
        by: UInt64(status.f_frsize)
      ).partialValue
    )
    guard free < byteCount else { return }
    throw WorkerError(
      .weights,
      "the weights need \(byteCount) more bytes, but \(directory) has room for \(free); free "
        + "\(byteCount - free) bytes, or choose another --cache"
    )
  }
}

/// A file of the cache, with its digest list.
private final class CacheFile: Sendable {
  private let file: ModelFile
  private let path: String
  private let data: CInt
  private let digests: CInt

  init(_ file: ModelFile, in directory: String) throws(WorkerError) {
    self.file = file
    path = "\(directory)/files/\(file.name)"
    let data = try Self.open(path, size: Int(file.size))
    self.data = data
    do throws(WorkerError) {
      digests = try Self.open(
        "\(directory)/digests/\(file.name)",
        size: file.chunkCount * Digest.byteCount
      )
    } catch {
      close(data)
      throw error
    }
  }

  deinit {
    close(data)
    close(digests)
  }

  private static func open(_ path: String, size: Int) throws(WorkerError) -> CInt {
    let descriptor = unsafe Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw failure("cannot open", path) }
    var status = stat()
    let isSized = unsafe fstat(descriptor, &status) == 0 && status.st_size == size
    guard isSized || ftruncate(descriptor, size) == 0 else {
      let error = failure("cannot extend to \(size) bytes", path)
      close(descriptor)
      throw error
    }
    return descriptor
  }

  func read(_ id: ChunkID) throws(WorkerError) -> [UInt8] {
    let range = file.range(of: id)
    return try read(id.isOfDigests ? digests : data, at: range.lowerBound, count: range.count)
  }

  func write(_ chunk: Chunk) throws(WorkerError) {
    let range = file.range(of: chunk.id)
    precondition(range.count == chunk.data.count, "\(chunk.data.count) bytes for \(range)")
    try write(
      chunk.data,
      to: chunk.id.isOfDigests ? digests : data,
      at: range.lowerBound
    )
  }

  /// Reads bytes; returns zeros beyond the end if the file has become shorter.
  private func read(_ descriptor: CInt, at offset: Int, count: Int) throws(WorkerError) -> [UInt8] {
    do throws(SystemError) {
      var bytes = try PositionedIO.read(descriptor, count: count, at: offset)
      bytes.append(contentsOf: repeatElement(0, count: count - bytes.count))
      return bytes
    } catch {
      throw Self.failure("cannot read", path, error.number)
    }
  }

  private func write(_ bytes: [UInt8], to descriptor: CInt, at offset: Int) throws(WorkerError) {
    do throws(SystemError) { try PositionedIO.write(bytes, to: descriptor, at: offset) } catch {
      throw Self.failure("cannot store weights in", path, error.number)
    }
  }

  /// Returns the error of a failed call.
  private static func failure(
    _ what: String,
    _ path: String,
    _ code: CInt = errno
  ) -> WorkerError {
    let isFull = code == ENOSPC || code == EDQUOT
    return WorkerError(
      .weights,
      "\(what) \(path): \(systemMessage(code))"
        + (isFull ? "; free some space there, or choose another --cache" : "")
    )
  }
}
