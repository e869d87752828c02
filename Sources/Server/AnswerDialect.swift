// How one interface tells an answer: whole as a document, or as a stream of events.

internal import Wire

/// A server-sent event.
struct ServerEvent: Sendable {
  /// nil for the interfaces whose events have no names.
  var name: String?
  var data: String

  init(_ name: String?, _ document: JSON) {
    self.name = name
    data = document.text
  }

  init(text: String) { data = text }

  var text: String { (name.map { "event: \($0)\n" } ?? "") + "data: \(data)\n\n" }
}

/// One interface's way to tell an answer.
protocol AnswerDialect: Sendable {
  /// What a stream begins with.
  mutating func opening() -> [ServerEvent]
  /// A piece of a choice.
  mutating func piece(_ choice: Int, _ piece: AnswerPiece) -> [ServerEvent]
  /// The end of a choice.
  mutating func closing(_ choice: Int, _ answer: CollectedAnswer) -> [ServerEvent]
  /// What comes when all choices have ended.
  mutating func ending(_ answer: CollectedAnswer) -> [ServerEvent]
  /// What ends a stream that broke off.
  func failure(_ error: APIError) -> ServerEvent
  /// The whole answer.
  mutating func whole(_ answer: CollectedAnswer) -> JSON
}
