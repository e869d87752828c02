// What has come of an answer: of each choice its words, thoughts and calls, and how it ended.

internal import Wire

/// A piece of the answer of one choice.
struct AnswerPiece: Sendable {
  var text = ""
  var thought = ""
  var calls: [ToolCallPiece] = []
  var scored: [DrawnToken] = []
  var tokenCount = 0

  /// Whether there is nothing to tell.
  var isEmpty: Bool { text.isEmpty && thought.isEmpty && calls.isEmpty && scored.isEmpty }

  mutating func append(_ more: AnswerPiece) {
    text += more.text
    thought += more.thought
    scored += more.scored
    tokenCount += more.tokenCount
    for call in more.calls {
      if call.name != nil {
        calls.append(call)
      } else {
        calls[calls.count - 1].arguments += call.arguments
      }
    }
  }
}

/// How a choice ended.
enum AnswerEnd: Sendable, Hashable {
  /// The model ended its turn.
  case turn
  /// A text came that the request names as an end.
  case stop(String)
  /// There were as many tokens as were asked for, or as fit.
  case length
  /// Tools are called.
  case calls
}

/// What the choices of an answer have come to.
struct CollectedAnswer: Sendable {
  private(set) var pieces: [AnswerPiece]
  private(set) var usage = Usage()
  /// By choice: what tells calls from words; empty if there are no tools.
  private var readers: [any ToolCallReader]

  init(choiceCount: Int, tools: ToolUse) {
    pieces = Array(repeating: AnswerPiece(), count: choiceCount)
    readers = Array(repeating: tools.reader, count: choiceCount).compactMap { $0 }
  }

  /// Takes what has come of a choice, and returns what can be told of it.
  mutating func take(_ choice: Int, _ piece: AnswerPiece) -> AnswerPiece {
    var piece = piece
    if !readers.isEmpty {
      let (words, calls) = readers[choice].append(piece.text)
      (piece.text, piece.calls) = (words, calls.joined)
    }
    pieces[choice].append(piece)
    return piece
  }

  /// Takes the end of a choice, and returns what was held back until then.
  mutating func end(_ choice: Int, _ finished: Finished) -> AnswerPiece {
    usage.add(choice, finished)
    guard !readers.isEmpty else { return AnswerPiece() }
    let rest = AnswerPiece(text: readers[choice].finish())
    pieces[choice].append(rest)
    return rest
  }

  /// Why a choice that has ended did so.
  func end(of choice: Int) -> AnswerEnd {
    let finished = usage.finished[choice]
    if finished?.reason == .length { return .length }
    if !pieces[choice].calls.isEmpty, !readers[choice].isInCall { return .calls }
    let stop = finished?.stop ?? ""
    return stop.isEmpty ? .turn : .stop(stop)
  }
}
