// Writes the results of commands to stdout. If they cannot be written, the command fails.

import ArgumentParser
import Glibc
import Launch
import Logging
import Platform

/// Writes text to stdout at once.
///
/// - Parameters:
///   - text: The text to write.
///   - terminator: Written after it.
///   - interrupt: A descriptor that ends the wait for a reader that has stopped (a pager, Ctrl-S)
///     when it is readable; nil waits forever.
/// - Throws: `CommandError` that says why the text could not be written; exit status 141 without a
///   message if the reader has gone, as a shell reports a program ended by SIGPIPE; `Interrupted`.
func printOut(
  _ text: String,
  terminator: String = "\n",
  interruptedBy interrupt: CInt? = nil
) throws {
  var bytes = Array((text + terminator).utf8)[...]
  while !bytes.isEmpty {
    if let interrupt { try waitForReader(interruptedBy: interrupt) }
    // A writable pipe accepts this many bytes without blocking (PIPE_BUF of pipe(7)).
    let count = unsafe bytes.prefix(4096).withUnsafeBytes {
      unsafe write(STDOUT_FILENO, $0.baseAddress, $0.count)
    }
    let code = errno
    if count >= 0 {
      bytes = bytes.dropFirst(count)
    } else if code == EAGAIN {
      var item = pollfd(fd: STDOUT_FILENO, events: CShort(POLLOUT), revents: 0)
      _ = unsafe Glibc.poll(&item, 1, -1)
    } else if code == EPIPE {
      throw ExitCode(128 + SIGPIPE)
    } else if code != EINTR {
      throw CommandError("cannot write to stdout: \(systemMessage(code))")
    }
  }
}

/// Waits until stdout accepts more.
private func waitForReader(interruptedBy interrupt: CInt) throws {
  var items = [
    pollfd(fd: STDOUT_FILENO, events: CShort(POLLOUT), revents: 0),
    pollfd(fd: interrupt, events: CShort(POLLIN), revents: 0),
  ]
  while unsafe Glibc.poll(&items, 2, -1) < 0, errno == EINTR {}
  if items[0].revents == 0, items[1].revents != 0 { throw Interrupted() }
}

/// Writes `ready` to stdout when prompts are accepted, without blocking the thread that serves.
///
/// If it cannot be written, that is logged, and the pipeline serves all the same.
final class ReadyLine: Sendable {
  private let writer: BackgroundWriter

  init(logger: Logger) {
    writer = BackgroundWriter(
      descriptor: STDOUT_FILENO,
      limits: BackgroundWriter.Limits(pieces: 1, bytes: 64),
      onFailure: { code in
        logger.warning(
          "`ready` cannot be written to stdout",
          metadata: ["reason": "\(systemMessage(code))"]
        )
        return false
      }
    )
  }

  func show() { writer.post(Array("ready\n".utf8)) }
}
