// The pages of all buffers: one file that is only memory, of which each buffer has a part that its owner maps.

internal import CLinux
internal import Glibc
internal import Platform

@safe struct SharedPages {
  let descriptor: CInt
  /// No buffer is at 0, so that a forgotten offset is noticed.
  private var end = 1 << 32

  static let pageBytes = 4096

  init() {
    descriptor = unsafe clinux_memory_file("npu-fake")
    precondition(descriptor >= 0, "memfd_create failed with \(errno)")
  }

  static func rounded(_ count: Int) -> Int { (count + pageBytes - 1) & ~(pageBytes - 1) }

  /// Takes a part of some whole pages, which are zero, and returns where it begins.
  mutating func take(_ count: Int) throws(FakeErrno) -> Int {
    let offset = end
    guard ftruncate(descriptor, off_t(end + count)) == 0 else { throw FakeErrno(ENOMEM) }
    end += count
    return offset
  }

  func release(_ offset: Int, _ count: Int) {
    clinux_release_range(descriptor, Int64(offset), Int64(count))
  }

  /// Reads words of a part into a range of an array.
  func read(_ offset: Int, into words: inout [UInt32], _ range: Range<Int>) {
    unsafe words.withUnsafeMutableBytes { bytes in
      let bytes = unsafe UnsafeMutableRawBufferPointer(
        rebasing: bytes[4 * range.lowerBound..<4 * range.upperBound]
      )
      let first = offset + 4 * range.lowerBound
      let count = unsafe try? PositionedIO.read(descriptor, into: bytes, at: first)
      precondition(count == bytes.count, "the pages at \(first) cannot be read")
    }
  }

  /// Writes words of a range of an array into a part.
  func write(_ offset: Int, _ words: [UInt32], _ range: Range<Int>) {
    unsafe words.withUnsafeBytes { bytes in
      let bytes = unsafe UnsafeRawBufferPointer(
        rebasing: bytes[4 * range.lowerBound..<4 * range.upperBound]
      )
      let first = offset + 4 * range.lowerBound
      let isWritten: Void? = unsafe try? PositionedIO.write(bytes, to: descriptor, at: first)
      precondition(isWritten != nil, "the pages at \(first) cannot be written")
    }
  }

  func words(_ offset: Int, _ count: Int) -> [UInt32] {
    var words = [UInt32](repeating: 0, count: count)
    read(offset, into: &words, 0..<count)
    return words
  }

  func close() { _ = Glibc.close(descriptor) }
}
