// How the fetching of a model is shown: a line on a terminal, some lines in a log.

import Glibc
import Hub
import Platform

/// Tells on stderr how many bytes have come, how fast, and how long the rest takes.
final class PullLine: PullObserver {
  private let asks: Bool
  private let interrupt: CInt?
  private let isTerminal = isatty(STDERR_FILENO) == 1
  private let state = Lock(State())

  /// How often a line goes to a log.
  private static let logInterval = Duration.seconds(30)
  private static let drawInterval = Duration.milliseconds(200)
  /// The rate is that of the last seconds.
  private static let rateInterval = Duration.seconds(10)

  private struct State {
    var hasBegun = false
    var label = ""
    var byteCount = 0
    var present = 0
    var shown: ContinuousClock.Instant?
    /// How much was there, when.
    var samples: [(time: ContinuousClock.Instant, present: Int)] = []
  }

  /// - Parameters:
  ///   - asks: Whether to ask on a terminal before anything is fetched.
  ///   - interrupt: A descriptor that ends the question when it is readable.
  init(asks: Bool, interruptedBy interrupt: CInt?) {
    self.asks = asks
    self.interrupt = interrupt
  }

  /// Whether the fetching has begun.
  var hasBegun: Bool { state.withLock { $0.hasBegun } }

  func begins(
    _ reference: ModelReference,
    fileCount: Int,
    byteCount: Int,
    missingByteCount: Int
  ) throws {
    guard missingByteCount > 0 else { return }
    let files = fileCount == 1 ? "" : ", \(fileCount) files"
    let isPart = missingByteCount < byteCount
    let size =
      describe(bytes: UInt64(missingByteCount))
      + (isPart ? " of \(describe(bytes: UInt64(byteCount)))" : "") + files
    if asks, isatty(STDIN_FILENO) == 1, isTerminal {
      let question = "\(reference) is not here. Fetch \(size)?"
      guard try Terminal.confirm(question, default: true, interruptedBy: interrupt) else {
        throw CommandError("\(reference) is not here; `trestle pull \(reference)` fetches it")
      }
    } else {
      printError("pulling \(reference): \(size)")
    }
    state.withLock { state in
      state = State(
        hasBegun: true,
        label: "\(reference)",
        byteCount: byteCount,
        present: byteCount - missingByteCount
      )
      state.samples = [(.now, state.present)]
      state.shown = .now
    }
  }

  func retries(after error: HubError) {
    clear()
    printError("\(error); trying again")
  }

  func checks(_ reference: ModelReference, byteCount: Int) {
    printError("checking \(reference): \(describe(bytes: UInt64(byteCount)))")
  }

  func finds(damaged path: String) {
    printError("\(path) is damaged, and is fetched again")
  }

  func finds(byteCount: Int) {
    state.withLock { state in
      state.present += byteCount
      // The rate is that of what comes.
      for index in state.samples.indices { state.samples[index].present += byteCount }
    }
  }

  func waits(for path: String) {
    clear()
    printError("\(path): another process is fetching it; waiting")
  }

  func advances(by byteCount: Int) {
    let text = state.withLock { state -> String? in
      state.present += byteCount
      let now = ContinuousClock.now
      let interval = isTerminal ? Self.drawInterval : Self.logInterval
      guard let shown = state.shown, now - shown >= interval else { return nil }
      state.shown = now
      // The newest stays, however old it is: the rate counts from it.
      let newest = state.samples.last?.time
      state.samples.removeAll { now - $0.time > Self.rateInterval && $0.time != newest }
      defer { state.samples.append((now, state.present)) }
      return Self.text(state, now)
    }
    guard let text else { return }
    guard isTerminal else { return printError(text) }
    // A line that is wider than the terminal could not be drawn over.
    StandardError.write("\r\(text.prefix(max(1, Terminal.errorWidth - 1)))\u{1B}[K")
  }

  private static func text(_ state: State, _ now: ContinuousClock.Instant) -> String {
    let percent = 100 * state.present / max(state.byteCount, 1)
    let size =
      "\(describe(bytes: UInt64(max(state.present, 0)))) of \(describe(bytes: UInt64(state.byteCount)))"
    let line = "pulling \(state.label) \(percent) %, \(size)"
    guard let first = state.samples.first, now > first.time else { return line }
    let rate = Double(state.present - first.present) / ((now - first.time) / .seconds(1))
    guard rate > 0 else { return line }
    let left = Double(state.byteCount - state.present) / rate
    return line + ", \(describe(bytes: UInt64(rate)))/s" + remaining(seconds: left)
  }

  /// Removes the line from a terminal.
  func clear() {
    if isTerminal { StandardError.write("\r\u{1B}[K") }
  }
}
