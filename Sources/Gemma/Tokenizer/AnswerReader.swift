// Converts the tokens of an answer into text one at a time, and tells what the model thinks from what it says.
// The marks of a channel are tokens, so text that looks like them is only text.

/// What a piece of an answer is.
package enum AnswerChannel: Sendable, Hashable {
  /// What the model says.
  case text
  /// What it thinks before.
  case thought
}

/// A piece of an answer.
package struct AnswerPiece: Sendable, Hashable {
  package var channel: AnswerChannel
  /// Whole characters; may be empty.
  package var text: String

  package init(_ channel: AnswerChannel, _ text: String) {
    self.channel = channel
    self.text = text
  }
}

/// Reads an answer token by token.
///
/// A thought stands between the marks of a channel: `<|channel>thought`, a line end, what is thought, a line
/// end, `<channel|>`. The name of the channel and the last line end are left out. A model without these tokens
/// only says things.
package struct AnswerReader: Sendable {
  private var detokenizer: Detokenizer
  private let marks: Tokenizer.ChannelMarks?
  /// What the last token belongs to.
  package private(set) var channel = AnswerChannel.text
  /// How many tokens of thoughts have come, their marks included.
  package private(set) var thoughtTokenCount = 0
  /// The beginning of a thought, as long as it may be the channel's name; nil behind it.
  private var name: [UInt8]?
  /// Whether a line end is held back: the thought may end behind it.
  private var holdsLineEnd = false

  /// How each thought begins.
  private static let thoughtName = Array("thought\n".utf8)

  /// - Parameters:
  ///   - tokenizer: The model's tokenizer.
  ///   - prompt: What the answer continues. It may end inside a thought.
  package init(_ tokenizer: Tokenizer, after prompt: [Int32] = []) {
    detokenizer = Detokenizer(tokenizer)
    marks = tokenizer.channelMarks
    guard let marks, marks.beginning(after: prompt) == .thought,
      let start = prompt.lastIndex(of: marks.start)
    else { return }
    for token in prompt[start...] { _ = append(token) }
    thoughtTokenCount = 0
  }

  /// Returns the text that a token completes.
  package mutating func append(_ token: Int32) -> AnswerPiece {
    if channel == .thought { thoughtTokenCount += 1 }
    guard let marks, token == marks.start || token == marks.end else {
      return AnswerPiece(channel, read(detokenizer.append(token)))
    }
    let rest = AnswerPiece(channel, read(detokenizer.flush()) + takeBeginning())
    if channel == .text, token == marks.start { thoughtTokenCount += 1 }
    channel = token == marks.start ? .thought : .text
    name = token == marks.start ? [] : nil
    holdsLineEnd = false
    return rest
  }

  /// Returns what is held back, because no other token follows.
  package mutating func flush() -> AnswerPiece {
    let rest = read(detokenizer.flush()) + takeBeginning()
    defer { holdsLineEnd = false }
    return AnswerPiece(channel, rest + (holdsLineEnd ? "\n" : ""))
  }

  /// Returns the beginning of a thought that ends before it could be told from the channel's name.
  private mutating func takeBeginning() -> String {
    guard let name, name + [0x0A] != Self.thoughtName else { return "" }
    self.name = nil
    return String(decoding: name, as: UTF8.self)
  }

  /// Returns what of the next text of the channel can be shown.
  private mutating func read(_ text: String) -> String {
    guard channel == .thought, !text.isEmpty else { return text }
    var bytes = Array(text.utf8)
    if let name {
      bytes = name + bytes
      if bytes.count < Self.thoughtName.count, Self.thoughtName.starts(with: bytes) {
        self.name = bytes
        return ""
      }
      self.name = nil
      if bytes.starts(with: Self.thoughtName) { bytes.removeFirst(Self.thoughtName.count) }
    }
    guard let last = bytes.last else { return "" }
    let held: [UInt8] = holdsLineEnd ? [0x0A] : []
    holdsLineEnd = last == 0x0A
    if holdsLineEnd { bytes.removeLast() }
    return String(decoding: held + bytes, as: UTF8.self)
  }
}

extension Tokenizer {
  /// The tokens around what a model thinks.
  package struct ChannelMarks: Sendable, Hashable {
    package var start: Int32
    package var end: Int32
    /// The token that begins a turn: no thought goes on behind it.
    var turn: Int32
    /// The token with which a prompt asks for thoughts; nil if there is none.
    var request: Int32?

    /// Returns nil if a vocabulary has none.
    init?(_ vocabulary: Vocabulary) {
      guard let start = vocabulary.controlToken(Gemma4Tokens.channelMarks.start),
        let end = vocabulary.controlToken(Gemma4Tokens.channelMarks.end),
        let turn = vocabulary.controlToken(Gemma4Tokens.turnMarks[0])
      else { return nil }
      self.start = start
      self.end = end
      self.turn = turn
      request = vocabulary.controlToken(Gemma4Tokens.thoughtRequest)
    }

    /// Where an answer to a prompt begins.
    package enum Beginning: Sendable, Hashable {
      /// Inside of a thought, which the prompt has opened.
      case thought
      /// With a thought, maybe: the prompt asks for it.
      case maybeThought
      case text
    }

    /// Returns where the answer to a prompt begins.
    package func beginning(after prompt: [Int32]) -> Beginning {
      let last = prompt.last { $0 == start || $0 == end || $0 == turn }
      if last == start { return .thought }
      return request.map(prompt.contains) ?? false ? .maybeThought : .text
    }
  }

  /// Whether the model's vocabulary has tokens for calls of tools.
  package var hasCallMarks: Bool { Gemma4Tokens.visible.allSatisfy { token(named: $0) != nil } }

  /// Whether the model's vocabulary has tokens for thoughts.
  package var canThink: Bool { channelMarks != nil }
}
