// Text from stdin and from files.

import Glibc
import Platform
import Wire

/// Reads all of stdin as UTF-8.
///
/// - Throws: `CommandError` if it cannot be read, is longer than any prompt, or is not valid UTF-8.
func readStandardInput() throws -> String {
  let bytes = try readAll(STDIN_FILENO, atMost: Limits.textBytes) { code in
    code == EBADF || code == EISDIR
      ? "cannot read the text from stdin: it is closed, or not a file or pipe"
      : "cannot read the text from stdin: \(systemMessage(code))"
  }
  guard let bytes else {
    throw CommandError("the text on stdin is longer than the limit of \(Limits.textBytes) bytes")
  }
  guard let text = String(validating: bytes, as: UTF8.self) else {
    throw CommandError("the text on stdin is not valid UTF-8")
  }
  return text
}

/// Reads a UTF-8 text file, or what comes through a pipe.
///
/// - Throws: `CommandError` that names the file.
func readText(_ path: String) throws -> String {
  let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
  guard descriptor >= 0 else { throw CommandError("cannot read \(path): \(systemMessage(errno))") }
  defer { close(descriptor) }
  let bytes = try readAll(descriptor, atMost: .max) { "cannot read \(path): \(systemMessage($0))" }
  guard let bytes, let text = String(validating: bytes, as: UTF8.self) else {
    throw CommandError("\(path) is not valid UTF-8")
  }
  return text
}

/// Reads all bytes that come.
///
/// - Parameters:
///   - descriptor: Where they come from.
///   - limit: The most bytes.
///   - message: What to say of an error number.
/// - Returns: The bytes; nil if they are more than the limit.
/// - Throws: `CommandError` with that message.
private func readAll(
  _ descriptor: CInt,
  atMost limit: Int,
  _ message: (CInt) -> String
) throws -> [UInt8]? {
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while bytes.count <= limit {
    let count = unsafe chunk.withUnsafeMutableBytes {
      unsafe read(descriptor, $0.baseAddress, $0.count)
    }
    let code = errno
    if count == 0 { return bytes }
    if count > 0 {
      bytes += chunk.prefix(count)
    } else if code == EAGAIN {
      var item = pollfd(fd: descriptor, events: CShort(POLLIN), revents: 0)
      _ = unsafe Glibc.poll(&item, 1, -1)
    } else if code != EINTR {
      throw CommandError(message(code))
    }
  }
  return nil
}
