// The tokens that tell a vocabulary of Gemma 4 from others, and what they are for. They are known by their
// texts, because files give them various types.

/// The tokens of Gemma 4 that are more than text.
enum Gemma4Tokens {
  /// The marks of a turn.
  ///
  /// A vocabulary that has both as control tokens is taken for Gemma 4's.
  static let turnMarks = ["<|turn>", "<turn|>"]

  /// The marks of a channel, in which the model thinks before it answers.
  static let channelMarks = (start: "<|channel>", end: "<channel|>")

  /// What a prompt says to ask for thoughts.
  static let thoughtRequest = "<|think|>"

  /// The mark at which the model waits for what a tool returns: the answer ends there.
  static let toolResponse = "<|tool_response>"

  /// Special tokens that are shown as text, because whoever looks for a call of a tool finds it by them.
  ///
  /// Files in GGUF call them user-defined, files of Hugging Face special. Like all special tokens they are
  /// never made of a user's text: else it could spell a call.
  static let visible = ["<|tool_call>", "<tool_call|>", "<tool_response|>", "<|\"|>"]

  /// All of these: none is ever made of a user's text.
  static let all =
    turnMarks + [channelMarks.start, channelMarks.end, toolResponse] + visible + media

  /// The tokens that stand for images, sound and video.
  ///
  /// No answer in text has them.
  static let media = [
    "<|image>", "<|audio>", "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>",
  ]
}

extension Vocabulary {
  /// Returns the control token with this text.
  func controlToken(_ text: String) -> Int32? {
    id(of: text).flatMap { kinds[Int($0)] == .control ? $0 : nil }
  }

  /// Whether it is a vocabulary of Gemma 4.
  var isGemma4: Bool { Gemma4Tokens.turnMarks.allSatisfy { controlToken($0) != nil } }

  /// Gives the special tokens of Gemma 4 the kinds that they have here, whatever the file says.
  mutating func markGemma4Tokens() {
    let channel = Gemma4Tokens.channelMarks
    for text in [channel.start, channel.end, Gemma4Tokens.toolResponse] {
      if let id = id(of: text) { setKind(.control, of: Int(id)) }
    }
    for text in Gemma4Tokens.visible {
      if let id = id(of: text) { setKind(.userDefined, of: Int(id)) }
    }
  }

  /// The tokens for images, sound and video, in ascending order.
  var mediaTokens: [Int32] { Gemma4Tokens.media.compactMap(controlToken).sorted() }
}
