// Reading and writing files at offsets, whatever pieces the system does it in.

internal import Glibc

/// A system call that failed.
package struct SystemError: Error, Sendable, CustomStringConvertible {
  /// The value of `errno`.
  package var number: CInt

  package var description: String { systemMessage(number) }
}

/// Returns what the system says about an `errno`.
package func systemMessage(_ number: CInt) -> String {
  // glibc's strerror is thread-safe since 2.32, and never returns null.
  unsafe String(cString: strerror(number))
}

/// `pread` and `pwrite` until all is done.
package enum PositionedIO {
  /// Fills memory with what a file has from an offset on.
  ///
  /// - Returns: How many bytes that is; fewer than there is room for if the file ends before.
  /// - Throws: The system's error.
  package static func read(
    _ descriptor: CInt,
    into buffer: UnsafeMutableRawBufferPointer,
    at offset: Int
  ) throws(SystemError) -> Int {
    var done = 0
    while done < buffer.count {
      let count = unsafe pread(
        descriptor,
        buffer.baseAddress.map { unsafe $0 + done },
        buffer.count - done,
        off_t(offset + done)
      )
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw SystemError(number: errno) }
      if count == 0 { break }
      done += count
    }
    return done
  }

  /// Returns what a file has from an offset on: so many bytes, or fewer if it ends before.
  ///
  /// - Throws: The system's error.
  package static func read(
    _ descriptor: CInt,
    count: Int,
    at offset: Int
  ) throws(SystemError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let result = unsafe bytes.withUnsafeMutableBytes { buffer -> Result<Int, SystemError> in
      do throws(SystemError) {
        return .success(unsafe try read(descriptor, into: buffer, at: offset))
      } catch {
        return .failure(error)
      }
    }
    bytes.removeLast(count - (try result.get()))
    return bytes
  }

  /// Writes bytes into a file from an offset on.
  ///
  /// - Throws: The system's error; some of the bytes may have been written.
  package static func write(
    _ bytes: UnsafeRawBufferPointer,
    to descriptor: CInt,
    at offset: Int
  ) throws(SystemError) {
    var done = 0
    while done < bytes.count {
      let count = unsafe pwrite(
        descriptor,
        bytes.baseAddress.map { unsafe $0 + done },
        bytes.count - done,
        off_t(offset + done)
      )
      if count < 0, errno == EINTR { continue }
      // A file that takes nothing, and does not say why, would be written for ever.
      guard count > 0 else { throw SystemError(number: count < 0 ? errno : ENOSPC) }
      done += count
    }
  }

  /// Writes bytes into a file from an offset on.
  ///
  /// - Throws: The system's error; some of the bytes may have been written.
  package static func write(
    _ bytes: [UInt8],
    to descriptor: CInt,
    at offset: Int
  ) throws(SystemError) {
    let result = unsafe bytes.withUnsafeBytes { buffer -> Result<Void, SystemError> in
      do throws(SystemError) {
        return .success(unsafe try write(buffer, to: descriptor, at: offset))
      } catch {
        return .failure(error)
      }
    }
    try result.get()
  }
}
