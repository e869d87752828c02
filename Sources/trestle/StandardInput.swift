// Text from stdin.

import Glibc
import Wire

/// Reads all of stdin as UTF-8.
///
/// - Throws: `CommandError` if it cannot be read, is longer than any prompt, or is not valid UTF-8.
func readStandardInput() throws -> String {
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = unsafe chunk.withUnsafeMutableBytes {
      unsafe read(STDIN_FILENO, $0.baseAddress, $0.count)
    }
    let code = errno
    if count == 0 { break }
    if count > 0 {
      bytes += chunk.prefix(count)
    } else if code == EAGAIN {
      var item = pollfd(fd: STDIN_FILENO, events: CShort(POLLIN), revents: 0)
      _ = unsafe Glibc.poll(&item, 1, -1)
    } else if code == EBADF || code == EISDIR {
      throw CommandError("cannot read the text from stdin: it is closed, or not a file or pipe")
    } else if code != EINTR {
      throw CommandError("cannot read the text from stdin: \(reason(code))")
    }
    guard bytes.count <= Limits.textBytes else {
      throw CommandError("the text on stdin is longer than the limit of \(Limits.textBytes) bytes")
    }
  }
  guard let text = String(validating: bytes, as: UTF8.self) else {
    throw CommandError("the text on stdin is not valid UTF-8")
  }
  return text
}
