// How a command ends when something is wrong: one line on stderr, exit status 1.

import ArgumentParser
import CLinux
import Compute
import Coordinator
import Gemma
import Glibc
import Wire
import Worker

/// A failure of a command itself, beside those of the modules.
struct CommandError: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

/// Runs a command's work and turns any error into its line on stderr and exit status 1.
///
/// Bad flags are argument-parser's: they exit 64 with the usage. A model file that is cut short while
/// it is read ends the process with a line, too, and exit status 74.
func reportingFailures(_ work: () throws -> Void) throws {
  clinux_tell_of_cut_files()
  do {
    try work()
  } catch let error as ExitCode {
    throw error
  } catch let error as ValidationError {
    throw error
  } catch {
    printError("error: \(error)")
    throw ExitCode.failure
  }
}

/// Writes a line to stderr.
func printError(_ line: String) {
  writeAll(line + "\n", to: STDERR_FILENO)
}

/// Writes text to stdout at once.
func printOut(_ text: String, terminator: String = "\n") {
  writeAll(text + terminator, to: STDOUT_FILENO)
}

/// Writes text to a descriptor, unbuffered: a reader at the other end sees each piece at once.
private func writeAll(_ text: String, to descriptor: CInt) {
  var bytes = Array(text.utf8)[...]
  while !bytes.isEmpty {
    let count = unsafe bytes.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
    if count < 0, errno != EINTR { return }
    bytes = bytes.dropFirst(max(0, count))
  }
}
