// How far something is, for who looks at a terminal.

import Glibc
import Platform

/// A line on the terminal that shows how far something is; nothing where stderr is no terminal.
final class ProgressLine: Sendable {
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
