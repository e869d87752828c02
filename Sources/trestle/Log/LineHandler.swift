// swift-log's handler: formats each event as a line and passes it to StandardError. Nothing here
// blocks.

import Compute
import Glibc
import Logging

/// A line of the log.
struct LogLine {
  var level: Logger.Level
  var label: String
  var source: String
  var message: String
  var metadata: [String: String]

  /// The peer, worker or session that the line is about, if any.
  ///
  /// The rate limit counts lines by it.
  var peer: String {
    ["peer", "worker", "session"].lazy.compactMap { metadata[$0] }.first ?? ""
  }

  /// Whether the rate limit does not apply.
  ///
  /// Lines below `info` are written only if the user asked for that level.
  var isUnlimited: Bool { level < .info }

  /// The line in the format of swift-log's own handler, with control characters escaped.
  var text: String {
    let facts = metadata.sorted { $0.key < $1.key }.map { " \($0)=\($1)" }.joined()
    return "\(Self.timestamp()) \(level) \(label):\(facts) [\(source)] \(message)".printable
  }

  private static func timestamp() -> String {
    var seconds = time(nil)
    var fields = unsafe tm()
    unsafe localtime_r(&seconds, &fields)
    var text = [CChar](repeating: 0, count: 32)
    let count = unsafe strftime(&text, text.count, "%Y-%m-%dT%H:%M:%S%z", &fields)
    return String(decoding: text.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}

/// Writes the log to stderr.
struct LineHandler: LogHandler {
  let label: String
  var logLevel = Logger.Level.info
  var metadata: Logger.Metadata = [:]

  init(label: String) { self.label = label }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var facts = metadata.merging(event.metadata ?? [:]) { $1 }
    if let error = event.error { facts["error"] = "\(error)" }
    StandardError.writeLine(
      LogLine(
        level: event.level,
        label: label,
        source: event.source,
        message: "\(event.message)",
        metadata: facts.mapValues { "\($0)" }
      )
    )
  }
}
