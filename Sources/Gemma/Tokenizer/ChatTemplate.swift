// How a conversation becomes a prompt. Models ship a Jinja program for it; ours are few and alike,
// so the program is recognised and not run. Where it is found: ChatTemplate+Loading.swift.

/// A message of a conversation.
package struct ChatMessage: Sendable, Hashable {
  package enum Role: String, Sendable, Hashable, CaseIterable {
    /// Instructions for the whole conversation; only as the first message.
    case system
    case user
    case assistant
  }

  package var role: Role
  package var content: String

  package init(role: Role, content: String) {
    self.role = role
    self.content = content
  }
}

/// The template of a chat model: the turns of Gemma 1 to 3n.
///
/// A turn is `<start_of_turn>user`, a line end, the message and `<end_of_turn>`. The assistant is
/// called model; a system message goes before the first user's, into the same turn.
package struct ChatTemplate: Sendable, Hashable {
  /// What stands between the system message and the user's: one line end or two, as the template
  /// has it.
  package var systemSeparator: String

  /// Gemma's turns as its newest templates have them.
  package static let gemmaTurns = ChatTemplate(systemSeparator: "\n\n")

  private init(systemSeparator: String) { self.systemSeparator = systemSeparator }

  /// Recognises a model's template.
  ///
  /// - Throws: `GemmaError.template` if it is none we know.
  package init(recognising source: String, context: String = "") throws(GemmaError) {
    // A line end in a literal is written as such or as \n; quotes are single or double.
    let compact = source.replacing("\"", with: "'").replacing("\n'", with: "\\n'")
      .replacing("\n\\n'", with: "\\n\\n'")
    let marks = ["<start_of_turn>", "<end_of_turn>\\n'", "model", "trim"]
    let foreign = ["<|", "[INST]", "<start_function_call>"]
    guard marks.allSatisfy({ compact.contains($0) }), !foreign.contains(where: compact.contains)
    else {
      throw GemmaError(
        .template,
        "the model's chat template is not one we know (Gemma's turns); use --raw to send the prompt without one",
        context: context
      )
    }
    systemSeparator = compact.contains("messages[0]['content'] + '\\n'") ? "\n" : "\n\n"
  }

  /// Returns the prompt that a conversation makes.
  ///
  /// - Parameters:
  ///   - messages: Optionally a system message, then user and assistant by turns.
  ///   - startsReply: Whether the assistant's turn is opened at the end.
  /// - Returns: The prompt, for `Tokenizer.encode`.
  /// - Throws: `GemmaError.template` if the roles do not alternate, or there is no message.
  package func pieces(
    _ messages: [ChatMessage],
    startsReply: Bool = true
  ) throws(GemmaError) -> [PromptPiece] {
    var turns = messages[...]
    var prefix = ""
    if let first = turns.first, first.role == .system {
      prefix = first.content + systemSeparator
      turns = turns.dropFirst()
    }
    guard !turns.isEmpty else {
      throw GemmaError(.template, "the conversation has no message of a user")
    }
    var pieces: [PromptPiece] = [.beginning]
    for (index, turn) in turns.enumerated() {
      let expected: ChatMessage.Role = index.isMultiple(of: 2) ? .user : .assistant
      guard turn.role == expected else {
        throw GemmaError(
          .template,
          "message \(turns.startIndex + index + 1) is of role \(turn.role), but after an optional system message user and assistant must alternate: \(expected) is expected"
        )
      }
      let name = turn.role == .assistant ? "model" : "user"
      pieces += [
        .special("<start_of_turn>"),
        .plain("\(name)\n\(prefix)\(ChatTemplate.trimmed(turn.content))"),
        .special("<end_of_turn>"), .plain("\n"),
      ]
      prefix = ""
    }
    if startsReply { pieces += [.special("<start_of_turn>"), .plain("model\n")] }
    return pieces
  }

  // Jinja's trim is Python's str.strip: white space of Unicode, and the separators 0x1C to 0x1F.
  private static func trimmed(_ text: String) -> String {
    func isSpace(_ scalar: Unicode.Scalar) -> Bool {
      scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
    }
    let scalars = text.unicodeScalars.drop(while: isSpace)
    guard let last = scalars.lastIndex(where: { !isSpace($0) }) else { return "" }
    return String(scalars[...last])
  }
}
