// What tells the calls of tools in an answer from its words, while it is made.

/// A call of a tool, or the next part of one.
struct ToolCallPiece: Sendable, Hashable {
  /// Its place among the calls of the answer.
  var index: Int
  /// What tells the call from all others.
  var id: String
  /// The function; nil where only more of the arguments comes.
  var name: String?
  /// A JSON object, or a part of its text.
  var arguments: String

  /// The beginning of a call.
  init(_ index: Int, _ name: String) {
    self.index = index
    id = "call_" + String(UInt64.random(in: .min ... .max), radix: 36)
    self.name = name
    arguments = ""
  }

  /// The next part of the arguments of the same call.
  func next(_ arguments: String) -> ToolCallPiece {
    var piece = self
    piece.name = nil
    piece.arguments = arguments
    return piece
  }
}

/// Reads the text of one answer, and tells calls from words.
protocol ToolCallReader: Sendable {
  /// Takes the next piece of the text, and returns what of it is words and what is calls.
  mutating func append(_ text: String) -> (words: String, calls: [ToolCallPiece])
  /// Returns words at the end of the text that became no call, since it was cut short.
  mutating func finish() -> String
  /// Whether a call has begun and is not complete.
  var isInCall: Bool { get }
}

extension [ToolCallPiece] {
  /// The same with one piece a call: programs take each for another call.
  var joined: [ToolCallPiece] {
    reduce(into: []) { joined, piece in
      if let last = joined.indices.last, joined[last].index == piece.index {
        joined[last].arguments += piece.arguments
      } else {
        joined.append(piece)
      }
    }
  }
}
