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
  private let began: ContinuousClock.Instant?

  /// - Parameters:
  ///   - label: What is under way.
  ///   - tellsRemaining: Whether to add the time that is left, for work that takes minutes.
  init(label: String, tellsRemaining: Bool = false) {
    self.label = label
    began = tellsRemaining ? .now : nil
  }

  /// Returns how long the rest takes if it goes on as it went so far; empty where that is not known.
  private func remaining(_ fraction: Double) -> String {
    guard let began, fraction > 0.01 else { return "" }
    return trestle.remaining(seconds: (.now - began) / .seconds(1) * (1 - fraction) / fraction)
  }

  func show(_ fraction: Double) {
    let percent = Int(fraction * 100)
    let isNew = shown.withLock { last in
      defer { last = percent }
      return last != percent
    }
    if isTerminal, isNew {
      StandardError.write("\r\(label) \(percent) %\(remaining(fraction))\u{1B}[K")
    }
  }

  func clear() {
    if isTerminal, shown.withLock({ $0 >= 0 }) { StandardError.write("\r\u{1B}[K") }
  }
}

/// Says how long something takes still.
func remaining(seconds: Double) -> String {
  let whole = Int(min(seconds, 1e9).rounded(.up))
  return whole < 60 ? ", \(whole) s left" : ", \(whole / 60) min \(whole % 60) s left"
}

/// Writes the messages of the launcher to stderr.
struct TerminalReporter: LaunchReporter {
  var showsProgress: Bool { isatty(STDERR_FILENO) == 1 }

  func note(_ line: String, cause: (any Error)?) {
    printError(line + (cause.map { ": \(reason($0))" } ?? ""))
  }

  func progress(_ label: String) -> any LaunchProgress { ProgressLine(label: label) }
}
