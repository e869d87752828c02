// One frame of `trestle top`: a pure function from a status and a width to lines of text.

import Client
import Compute
import Gemma
import Platform
import Wire

/// What `top` shows of a pipeline at one moment.
struct TopFrame {
  /// The colour of a piece of text on a terminal with colours.
  enum Colour: String {
    // SGR parameters: ECMA-48, section 8.3.117.
    case good = "32"
    case busy = "33"
    case bad = "31"
    case faint = "2"
  }

  typealias Piece = (text: String, colour: Colour?)

  /// The least width that is assumed; below it the busy bar would have no room.
  static let leastWidth = 40
  private static let indent = String(repeating: " ", count: 11)

  private let status: StatusReply
  private let width: Int
  private let hasColours: Bool

  init(_ status: StatusReply, width: Int, hasColours: Bool) {
    self.status = status
    self.width = max(Self.leastWidth, width)
    self.hasColours = hasColours
  }

  /// The lines, none wider than the width.
  var lines: [String] {
    let stages = status.workers.flatMap { stage($0) }
    let replaced = status.replacedWorkers.flatMap { worker in
      wrapped(worker.text).map { line -> [Piece] in [(line, .bad)] }
    }
    return (summary + [[]] + stages + replaced).map { fit($0) }
  }

  private var summary: [[Piece]] {
    [
      [
        ("\(status.model)  ", nil), (status.state.name, colour(of: status.state)),
        (
          "  epoch \(status.epoch)  up \(clock(status.uptimeMilliseconds))  "
            + "\(decimal(status.tokensPerSecond, 1)) tokens/s",
          nil
        ),
      ],
      [
        (
          "\(status.sessions) sessions  \(status.queued) queued  KV \(status.kvPositions) of "
            + "\(status.kvCapacityPositions) positions (\(percent(kvShare)))",
          nil
        )
      ],
      latency("first token", status.firstToken),
      latency("between tokens", status.interToken),
    ]
  }

  private var kvShare: Double {
    status.kvCapacityPositions > 0
      ? Double(status.kvPositions) / Double(status.kvCapacityPositions) : 0
  }

  private func latency(_ name: String, _ summary: LatencySummary) -> [Piece] {
    let label = name.padding(to: 16)
    guard summary.count > 0 else { return [(label, nil), ("none in the last minute", .faint)] }
    let milliseconds = { (microseconds: UInt64) in decimal(Double(microseconds) / 1000, 1) }
    return [
      (
        "\(label)p50 \(milliseconds(summary.p50Microseconds)) ms  "
          + "p90 \(milliseconds(summary.p90Microseconds)) ms  "
          + "p99 \(milliseconds(summary.p99Microseconds)) ms",
        nil
      ),
      ("  of \(summary.count)", .faint),
    ]
  }

  /// Two lines for each stage, and a third if the worker reports a detail.
  private func stage(_ worker: WorkerStatus) -> [[Piece]] {
    let device = worker.device + (worker.isEmulated ? " (emulated)" : "")
    let head = "\(worker.name.padding(to: 10)) \(device.padding(to: 8)) "
    let layers = "\(worker.firstLayer)..<\(worker.endLayer)".padding(to: 9)
    let state = worker.state == .loading ? "loading \(percent(worker.loadFraction))" : nil
    let label = (state ?? worker.state.name).padding(to: 13)
    let shares =
      " \(percent(worker.busy).padding(toRight: 5)) busy "
      + "\(percent(worker.bubble).padding(toRight: 5)) bubble"
    let room = width - head.count - layers.count - label.count - shares.count - 2
    let bar = self.bar(worker.busy, width: min(24, room))
    var numbers = [
      "step \(decimal(worker.stepMilliseconds, 2)) ms", "queue \(decimal(worker.queued, 1))",
      "KV \(describe(bytes: worker.kvBytes))", "memory \(describe(bytes: worker.residentBytes))",
    ]
    let line = ModelLine(covering: status.workers.map(\.slice))
    let rows = worker.slice.vocabulary
    if !rows.isEmpty, rows.count < line.vocabularySize {
      numbers.append("vocabulary \(rows.lowerBound)..<\(rows.upperBound)")
    }
    if let temperature = worker.temperature {
      numbers.append("\(decimal(temperature.celsius, 0)) °C")
    }
    var lines: [[Piece]] = [
      [(head + layers + " ", nil), (label, colour(of: worker.state)), (bar, nil), (shares, nil)],
      [(Self.indent + numbers.joined(separator: "  "), .faint)],
    ]
    if !worker.detail.isEmpty {
      lines.append([(Self.indent + worker.detail, worker.state == .ready ? .faint : .bad)])
    }
    return lines
  }

  private func bar(_ share: Double, width: Int) -> String {
    guard width > 0 else { return "" }
    let full = Int((min(1, max(0, share)) * Double(width)).rounded())
    return String(repeating: "█", count: full) + String(repeating: "░", count: width - full)
  }

  private func percent(_ share: Double) -> String {
    "\(Int((min(1, max(0, share)) * 100).rounded())) %"
  }

  /// Hours, minutes, seconds.
  private func clock(_ milliseconds: UInt64) -> String {
    let seconds = milliseconds / 1000
    let two = { (value: UInt64) in value < 10 ? "0\(value)" : "\(value)" }
    return "\(seconds / 3600):\(two(seconds / 60 % 60)):\(two(seconds % 60))"
  }

  private func colour(of state: HealthState) -> Colour {
    switch state {
    case .ready: .good
    case .loading: .busy
    case .degraded, .lost, .replaced: .bad
    }
  }

  private func colour(of state: ServiceState) -> Colour {
    switch state {
    case .ready: .good
    case .waiting, .loading, .stopping: .busy
    case .degraded: .bad
    }
  }

  /// Joins the pieces of a line and cuts it at the width.
  ///
  /// Names and details come from other processes, so control characters are escaped.
  /// Returns a text in lines that are as wide as the terminal, but for words that are wider.
  private func wrapped(_ text: String) -> [String] {
    text.split(separator: " ").reduce(into: []) { lines, word in
      if let last = lines.last, last.count + 1 + word.count <= width {
        lines[lines.count - 1] += " \(word)"
      } else {
        lines.append(String(word))
      }
    }
  }

  private func fit(_ pieces: [Piece]) -> String {
    var room = width
    var line = ""
    for (text, colour) in pieces where room > 0 {
      let piece = String(text.printable.prefix(room))
      room -= piece.count
      if hasColours, let colour {
        line += "\u{1B}[\(colour.rawValue)m\(piece)\u{1B}[0m"
      } else {
        line += piece
      }
    }
    return line
  }
}

extension String {
  fileprivate func padding(to width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - count))
  }

  fileprivate func padding(toRight width: Int) -> String {
    String(repeating: " ", count: max(0, width - count)) + self
  }
}
