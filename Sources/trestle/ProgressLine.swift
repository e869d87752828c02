// Progress on a terminal, and the messages of the launcher on stderr.

import Glibc
import Launch
import Platform

/// A line on the terminal that shows the progress of an operation.
///
/// Shows nothing if stderr is not a terminal.
final class ProgressLine: LaunchProgress {
  private let label: String
  private let shown = Lock(-1)
  private let isTerminal = isatty(STDERR_FILENO) == 1

  init(label: String) { self.label = label }

  func show(_ fraction: Double) {
    let percent = Int(fraction * 100)
    let isNew = shown.withLock { last in
      defer { last = percent }
      return last != percent
    }
    if isTerminal, isNew { StandardError.write("\r\(label) \(percent) %") }
  }

  func clear() {
    if isTerminal, shown.withLock({ $0 >= 0 }) { StandardError.write("\r\u{1B}[K") }
  }
}

/// Writes the messages of the launcher to stderr.
struct TerminalReporter: LaunchReporter {
  var showsProgress: Bool { isatty(STDERR_FILENO) == 1 }

  func note(_ line: String, cause: (any Error)?) {
    printError(line + (cause.map { ": \(reason($0))" } ?? ""))
  }

  func progress(_ label: String) -> any LaunchProgress { ProgressLine(label: label) }
}
