// The pages of all buffers: one file that is only memory, of which each buffer has a part that its owner maps.

internal import CLinux
internal import Glibc

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
      var done = 0
      while done < bytes.count {
        let count = unsafe pread(
          descriptor,
          bytes.baseAddress.map { unsafe $0 + done },
          bytes.count - done,
          off_t(offset + 4 * range.lowerBound + done)
        )
        precondition(count > 0, "pread of \(offset) failed with \(errno)")
        done += count
      }
    }
  }

  /// Writes words of a range of an array into a part.
  func write(_ offset: Int, _ words: [UInt32], _ range: Range<Int>) {
    unsafe words.withUnsafeBytes { bytes in
      let bytes = unsafe UnsafeRawBufferPointer(
        rebasing: bytes[4 * range.lowerBound..<4 * range.upperBound]
      )
      var done = 0
      while done < bytes.count {
        let count = unsafe pwrite(
          descriptor,
          bytes.baseAddress.map { unsafe $0 + done },
          bytes.count - done,
          off_t(offset + 4 * range.lowerBound + done)
        )
        precondition(count > 0, "pwrite of \(offset) failed with \(errno)")
        done += count
      }
    }
  }

  func words(_ offset: Int, _ count: Int) -> [UInt32] {
    var words = [UInt32](repeating: 0, count: count)
    read(offset, into: &words, 0..<count)
    return words
  }

  func close() { _ = Glibc.close(descriptor) }
}
