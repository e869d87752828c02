// What tests of the readers of calls share.

@testable import Server

extension ToolCallReader {
  /// Returns what a reader makes of a text that comes in pieces of so many characters.
  func reading(_ text: String, pieces count: Int) -> Server.AnswerPiece {
    var reader = self
    var answer = Server.AnswerPiece()
    let characters = Array(text)
    for first in stride(from: 0, to: characters.count, by: count) {
      let piece = String(characters[first..<min(first + count, characters.count)])
      let (words, calls) = reader.append(piece)
      answer.append(Server.AnswerPiece(text: words, calls: calls))
    }
    answer.append(Server.AnswerPiece(text: reader.finish()))
    return answer
  }
}
