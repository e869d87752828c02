// Reads model files once from end to end to know what is in them, and not again while they are as they
// were.

package import Content
internal import Foundation
internal import Glibc

/// Computes digests of ranges of model files, or finds those computed before.
package struct ContentReader: Sendable {
  /// What is read and digested at once: a piece stays in the processor's cache in between.
  private static let pieceByteCount = 1 << 20

  /// Where digests are kept; nil to compute them each time.
  private let store: DigestStore?
  private let threads: Int
  private let acceptsChanges: Bool
  /// Called now and then, on several threads, with the bytes that were read and all that must be.
  private let progress: @Sendable (_ byteCount: Int, _ total: Int) throws -> Void

  /// - Parameters:
  ///   - store: Where digests are kept; nil to compute them each time.
  ///   - share: Of the CPUs, to read with; at least one does.
  ///   - acceptsChanges: Whether files may have changed since they were opened.
  ///   - progress: Called now and then, on several threads, with the bytes that were read and all that
  ///     must be; not at all if the digests are known. May throw to stop.
  package init(
    keptIn store: DigestStore? = nil,
    share: Double = 1,
    acceptsChanges: Bool = false,
    progress: @escaping @Sendable (_ byteCount: Int, _ total: Int) throws -> Void = { _, _ in }
  ) {
    self.store = store
    threads = max(1, Int(share * Double(ProcessInfo.processInfo.activeProcessorCount)))
    self.acceptsChanges = acceptsChanges
    self.progress = progress
  }

  /// Returns the digests of ranges of files: of their bytes, or of one longer than a piece that of the
  /// list of its pieces' digests.
  ///
  /// - Parameters:
  ///   - ranges: The ranges of each file.
  ///   - kind: What they are.
  /// - Returns: A digest a range, in their order.
  /// - Throws: What `progress` throws, or `ModelFilesError.file` if a file cannot be read, or is not what it
  ///   was when it was opened.
  package func digests(
    of ranges: [(file: MappedFile, ranges: [Range<Int>])],
    _ kind: DigestStore.Kind
  ) throws -> [[Digest]] {
    var known: [[Range<Int>: Digest]] = []
    for (file, _) in ranges {
      let now = try unchanged(file)
      known.append(store?.digests(of: now, kind) ?? [:])
    }
    var wanted: [(file: Int, range: Range<Int>)] = []
    for (index, file) in ranges.enumerated() {
      wanted += file.ranges.filter { known[index][$0] == nil }.map { (index, $0) }
    }
    guard !wanted.isEmpty else { return assemble(ranges, known) }
    let total = wanted.reduce(0) { $0 + $1.range.count }
    let pieces = wanted.map {
      FilePiece.cut($0.range, of: $0.file, size: Self.pieceByteCount)
    }
    let began = Self.wallClock()
    let before = try ranges.map { try unchanged($0.file) }
    let files = ranges.map(\.file)
    let progress = progress
    var digests = try unsafe Digest.all(
      of: pieces.flatMap(\.self),
      threads: threads,
      read: { piece, memory in
        try unsafe files[piece.file].fill(memory, offset: piece.bytes.lowerBound)
      },
      progress: { try progress($0, total) }
    )[...]
    for (pieces, (file, range)) in zip(pieces, wanted) {
      let own = digests.prefix(pieces.count)
      known[file][range] = own.count == 1 ? own.first : Digest(ofList: own)
      digests = digests.dropFirst(pieces.count)
    }
    let read = Set(wanted.map(\.file))
    for (index, file) in files.enumerated() where read.contains(index) {
      guard try unchanged(file) == before[index] else {
        throw ModelFilesError(.file, "was changed while it was read; try again", context: file.path)
      }
      let asked = Set(ranges[index].ranges)
      let kept = known[index].filter { asked.contains($0.key) }
      store?.keep(kept, of: before[index], kind, readSince: began)
    }
    return assemble(ranges, known)
  }

  private func assemble(
    _ ranges: [(file: MappedFile, ranges: [Range<Int>])],
    _ known: [[Range<Int>: Digest]]
  ) -> [[Digest]] {
    zip(ranges, known).map { file, known in file.ranges.compactMap { known[$0] } }
  }

  /// Returns what a file is now.
  ///
  /// - Throws: `ModelFilesError.file` if that is not what it was when it was opened, and must be.
  private func unchanged(_ file: MappedFile) throws(ModelFilesError) -> FileIdentity {
    guard let now = file.identity(), acceptsChanges || now.hasBytes(of: file.opened) else {
      throw ModelFilesError(.file, "was changed after it was opened", context: file.path)
    }
    return now
  }

  /// The time that file systems note.
  private static func wallClock() -> Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }
}
