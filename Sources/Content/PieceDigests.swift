// Digests of many pieces of files, computed on several CPUs at once: a model has gigabytes.

internal import Dispatch
internal import Synchronization

/// A range of one of several files.
package struct FilePiece: Sendable, Hashable {
  /// Which one: an index that the caller knows.
  package var file: Int
  package var bytes: Range<Int>

  package init(file: Int, bytes: Range<Int>) {
    self.file = file
    self.bytes = bytes
  }

  /// Cuts a range into pieces; the last may be shorter.
  ///
  /// - Precondition: `size` is positive.
  package static func cut(_ bytes: Range<Int>, of file: Int, size: Int) -> [FilePiece] {
    stride(from: bytes.lowerBound, to: bytes.upperBound, by: size).map {
      FilePiece(file: file, bytes: $0..<min(bytes.upperBound, $0 + size))
    }
  }
}

extension Digest {
  /// Computes the digests of pieces.
  ///
  /// - Parameters:
  ///   - pieces: What to read.
  ///   - threads: How many compute; 1 for the caller's alone.
  ///   - read: Fills the memory with a piece. Called on several threads.
  ///   - progress: Called now and then, on any of them, with how many bytes are done; may throw to
  ///     stop.
  /// - Returns: A digest a piece.
  /// - Throws: What `read` or `progress` throws, of whichever thread.
  package static func all(
    of pieces: [FilePiece],
    threads: Int,
    read: @Sendable (FilePiece, UnsafeMutableRawBufferPointer) throws -> Void,
    progress: @Sendable (_ byteCount: Int) throws -> Void
  ) throws -> [Digest] {
    let threads = max(1, min(threads, pieces.count))
    let next = Atomic(0)
    let done = Atomic(0)
    let largest = pieces.reduce(0) { max($0, $1.bytes.count) }
    @Sendable func run() throws -> [(Int, Digest)] {
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: largest, alignment: 64)
      defer { unsafe buffer.deallocate() }
      var digests: [(Int, Digest)] = []
      while true {
        let index = next.add(1, ordering: .relaxed).oldValue
        guard index < pieces.count else { return digests }
        let count = pieces[index].bytes.count
        let memory = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
        do {
          try unsafe read(pieces[index], memory)
          try progress(done.add(count, ordering: .relaxed).newValue)
        } catch {
          // The others stop at their next piece.
          next.store(pieces.count, ordering: .relaxed)
          throw error
        }
        unsafe digests.append((index, Digest(of: UnsafeRawBufferPointer(memory))))
      }
    }
    var results: [Result<[(Int, Digest)], any Error>] = []
    if threads == 1 {
      results = [Result { try run() }]
    } else {
      let empty = Result<[(Int, Digest)], any Error>.success([])
      results = Array(repeating: empty, count: threads)
      unsafe results.withUnsafeMutableBufferPointer { slots in
        // Each iteration has a slot of its own.
        nonisolated(unsafe) let slots = unsafe slots
        DispatchQueue.concurrentPerform(iterations: threads) { thread in
          unsafe slots[thread] = Result { try run() }
        }
      }
    }
    var digests = [Digest?](repeating: nil, count: pieces.count)
    for result in results { for (index, digest) in try result.get() { digests[index] = digest } }
    return digests.compactMap(\.self)
  }
}
