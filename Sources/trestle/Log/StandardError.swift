// Everything this program says on stderr goes through here: log lines, errors, progress. It is written by
// one thread in the order it was said; a reader that sleeps, is slow or has gone costs lines.

import Glibc
import Logging
import Platform

enum StandardError {
  /// 1024 lines or 1 MiB: what a reader that stands still for some seconds misses nothing of.
  private static let limits = BackgroundWriter.Limits(pieces: 1024, bytes: 1 << 20)

  private static let rate = Lock(LineRate())

  private static let writer = BackgroundWriter(
    descriptor: STDERR_FILENO,
    limits: limits,
    notice: { Array(notice(ofDropped: $0).utf8) }
  )

  /// How long the end of the program waits for a reader.
  static let patience = Duration.seconds(1)

  /// Says something, as soon as the reader takes it.
  static func write(_ text: String) { writer.post(Array(text.utf8)) }

  /// Writes a line of the log, unless there have been too many of its kind.
  static func writeLine(_ line: LogLine) {
    let isAdmitted = rate.withLock { rate in
      line.isUnlimited || rate.admits(kind: line.message, peer: line.peer, at: .now)
    }
    if isAdmitted { write(line.text + "\n") }
  }

  /// Waits until all is said; not for long, since the reader may be asleep.
  static func flush() { writer.drain(within: patience) }

  /// Returns the lines that tell what was not written.
  private static func notice(ofDropped count: Int) -> String {
    var lines: [LogLine] = []
    if count > 0 { lines.append(LogLine("\(count) lines dropped", ["reason": "nobody read them"])) }
    lines += rate.withLock { $0.takeSuppressed() }.map { kind, count in
      LogLine("\(count) lines dropped", ["kind": kind, "reason": "too many a second"])
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
