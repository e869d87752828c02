// What a client sends to become a prompt's tokens: a text, or a conversation for the chat template.

internal import Gemma
internal import Wire

/// What becomes the tokens of a prompt.
enum PromptSource: Sendable, Hashable {
  /// Tokens, which wait only for the grammar of their answer.
  case tokens([Int32])
  /// A text that is continued as it is, with or without special tokens recognised in it.
  case text(String, parsesSpecial: Bool)
  /// Messages that the model's chat template makes a prompt of, and whether the model thinks before it answers.
  case conversation([ChatMessage], thinks: Bool = false)

  /// A text as a request has it: what a user says, or any text.
  init(_ text: String, of generate: Generate) {
    self =
      generate.appliesChatTemplate
      ? .conversation([ChatMessage(role: .user, content: text)], thinks: generate.thinks)
      : .text(text, parsesSpecial: generate.parsesSpecial)
  }

  init(_ messages: [PromptMessage], thinks: Bool) {
    self = .conversation(
      messages.map { ChatMessage(role: ChatMessage.Role($0.role), content: $0.text) },
      thinks: thinks
    )
  }

  /// The bytes of all its text.
  var byteCount: Int {
    switch self {
    case .tokens(let tokens): 4 * tokens.count
    case .text(let text, _): text.utf8.count
    case .conversation(let messages, _): messages.reduce(0) { $0 + $1.content.utf8.count }
    }
  }

  /// What a message costs beside its text, in bytes that are tokenized meanwhile.
  ///
  /// A template takes some forty steps for a message, which is about as long.
  private static let bytesOfMessage = 128

  /// How long it takes to encode, in bytes that are tokenized meanwhile.
  var encodingCost: Int {
    switch self {
    case .tokens: 0
    case .text: byteCount
    case .conversation(let messages, _): byteCount + Self.bytesOfMessage * messages.count
    }
  }
}

extension ChatMessage.Role {
  fileprivate init(_ role: MessageRole) {
    self =
      switch role {
      case .system: .system
      case .user: .user
      case .assistant: .assistant
      case .tool: .tool
      case .developer: .developer
      }
  }
}
