// Everything that this program writes to stderr goes through here: log lines, errors, progress. One
// thread writes it in order. If the reader stops, is slow or has gone, lines are dropped and nobody
// waits.

import Glibc
import Logging
import Platform

enum StandardError {
  /// 1024 lines or 1 MiB: enough that a reader that stops for some seconds misses nothing.
  private static let limits = BackgroundWriter.Limits(pieces: 1024, bytes: 1 << 20)

  private static let rate = Lock(LineRate())

  private static let writer = BackgroundWriter(
    descriptor: STDERR_FILENO,
    limits: limits,
    notice: { Array(notice(ofDropped: $0).utf8) }
  )

  /// How long the program waits for a reader before it exits.
  static let patience = Duration.seconds(1)

  /// Writes a text as soon as the reader accepts it.
  static func write(_ text: String) { writer.post(Array(text.utf8)) }

  /// Writes a line of the log, unless there have been too many of its kind.
  static func writeLine(_ line: LogLine) {
    let isAdmitted = rate.withLock { rate in
      line.isUnlimited || rate.admits(kind: line.message, peer: line.peer, at: .now)
    }
    if isAdmitted { write(line.text + "\n") }
  }

  /// Waits until everything is written, with a timeout, because the reader may be stopped.
  static func flush() { writer.drain(within: patience) }

  /// Returns the lines that report how many were not written.
  private static func notice(ofDropped count: Int) -> String {
    var lines: [LogLine] = []
    if count > 0 { lines.append(LogLine("\(count) lines dropped", ["reason": "not read in time"])) }
    lines += rate.withLock { $0.takeSuppressed() }.map { kind, count in
      LogLine("\(count) lines dropped", ["kind": kind, "reason": "too many per second"])
    }
    return lines.map { $0.text + "\n" }.joined()
  }
}

extension LogLine {
  /// A line that the log writes about itself.
  fileprivate init(_ message: String, _ metadata: [String: String]) {
    self.init(
      level: .warning,
      label: "trestle.log",
      source: "trestle",
      message: message,
      metadata: metadata
    )
  }
}
