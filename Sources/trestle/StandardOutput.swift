// stdout is the product: what cannot be written there is an error that the exit status tells.

import ArgumentParser
import Glibc
import Launch
import Logging
import Platform

/// Writes text to stdout at once.
///
/// - Parameters:
///   - text: What to write.
///   - terminator: What follows it.
///   - interrupt: A descriptor that ends the wait for a reader that sleeps (a pager, Ctrl-S) when it is
///     readable; nil waits for ever.
/// - Throws: `CommandError` that says why it could not be written; exit status 141, without a word, if
///   nobody reads any more, as a shell reports a program that SIGPIPE has ended; `Interrupted`.
func printOut(
  _ text: String,
  terminator: String = "\n",
  interruptedBy interrupt: CInt? = nil
) throws {
  var bytes = Array((text + terminator).utf8)[...]
  while !bytes.isEmpty {
    if let interrupt { try waitForReader(interruptedBy: interrupt) }
    // A pipe that can be written takes so much without waiting (PIPE_BUF of pipe(7)).
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
      throw CommandError("cannot write to stdout: \(reason(code))")
    }
  }
}

/// Waits until stdout takes more.
private func waitForReader(interruptedBy interrupt: CInt) throws {
  var items = [
    pollfd(fd: STDOUT_FILENO, events: CShort(POLLOUT), revents: 0),
    pollfd(fd: interrupt, events: CShort(POLLIN), revents: 0),
  ]
  while unsafe Glibc.poll(&items, 2, -1) < 0, errno == EINTR {}
  if items[0].revents == 0, items[1].revents != 0 { throw Interrupted() }
}

/// Says on stdout that prompts are accepted, from the thread that serves: a reader that sleeps or has
/// gone is told of in the log, and served all the same.
final class ReadyLine: Sendable {
  private let writer: BackgroundWriter

  init(logger: Logger) {
    writer = BackgroundWriter(
      descriptor: STDOUT_FILENO,
      limits: BackgroundWriter.Limits(pieces: 1, bytes: 64),
      onFailure: { code in
        logger.warning(
          "`ready` cannot be written to stdout",
          metadata: ["reason": "\(reason(code))"]
        )
        return false
      }
    )
  }

  func show() { writer.post(Array("ready\n".utf8)) }
}
