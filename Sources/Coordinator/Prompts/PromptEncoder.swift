// From what a client sends to the tokens of a prompt: the chat template, the tokenizer, and what can be
// said of a text's length before it is tokenized.

internal import Gemma
internal import ModelFiles
internal import Wire

/// Turns texts into prompts.
struct PromptEncoder: Sendable {
  /// Texts up to this are encoded where they are received: it takes no longer than a step's messages.
  ///
  /// A tokenizer does a few megabytes a second, so this is a millisecond or two.
  static let mostBytesAtOnce = 4 << 10

  let modelName: String
  let tokenizer: Tokenizer?
  let template: Result<ChatTemplate, GemmaError>

  init(_ model: ServedModel) {
    modelName = model.name
    tokenizer = model.tokenizer
    template = model.template
  }

  /// Returns the prompt that a text stands for.
  ///
  /// - Throws: `GemmaError` if the model has no tokenizer, or no chat template that is wanted.
  /// - Complexity: O(n log m) for n bytes with words of m.
  func encode(_ text: String, _ options: PromptOptions) throws(GemmaError) -> [Int32] {
    guard let tokenizer else {
      throw GemmaError(.tokenizer, "\(modelName) has no tokenizer; send the prompt as tokens")
    }
    guard options.appliesChatTemplate else {
      return tokenizer.encode(text, addBOS: true, parseSpecial: options.parsesSpecial)
    }
    let template = try template.get()
    return try tokenizer.encode(template.pieces([ChatMessage(role: .user, content: text)]))
  }

  /// Returns the fewest tokens that a text can have, without tokenizing it.
  ///
  /// No token stands for more bytes than the vocabulary's longest piece. A chat template trims white space
  /// at both ends, so there it counts for nothing.
  func leastTokens(of text: String, _ options: PromptOptions) -> Int {
    let bytes = text.utf8
    guard let longest = tokenizer?.longestPieceBytes, longest > 0, bytes.count > longest else {
      return 0
    }
    guard options.appliesChatTemplate else { return bytes.count / longest }
    let isSpace = { (byte: UInt8) in byte == 0x20 || (0x09...0x0D).contains(byte) }
    guard let first = bytes.firstIndex(where: { !isSpace($0) }),
      let last = bytes.lastIndex(where: { !isSpace($0) })
    else { return 0 }
    return bytes.distance(from: first, to: last) / longest
  }
}

/// How a text becomes a prompt.
struct PromptOptions: Sendable, Hashable {
  /// The text is what a user says.
  var appliesChatTemplate: Bool
  /// Special tokens are recognised in the text.
  var parsesSpecial: Bool

  init(appliesChatTemplate: Bool, parsesSpecial: Bool) {
    self.appliesChatTemplate = appliesChatTemplate
    self.parsesSpecial = parsesSpecial
  }

  init(_ generate: Generate) {
    appliesChatTemplate = generate.appliesChatTemplate
    parsesSpecial = generate.parsesSpecial
  }
}
