// Converts a conversation into a prompt, with the Jinja template that the model ships and the
// interpreter in Template/. ChatTemplate+Loading.swift finds the template.

internal import ModelFiles

/// A message of a conversation.
package struct ChatMessage: Sendable, Hashable {
  package enum Role: String, Sendable, Hashable, CaseIterable {
    /// Instructions for the whole conversation; only as the first message.
    case system
    case user
    case assistant
    /// What a tool has returned.
    case tool
    /// Instructions, in templates that tell them from the system's.
    case developer
  }

  package var role: Role
  package var content: String

  package init(role: Role, content: String) {
    self.role = role
    self.content = content
  }
}

/// The template of a chat model.
package struct ChatTemplate: Sendable, Hashable {
  /// The part of the vocabulary that a template knows: the texts of the tokens that it may refer
  /// to.
  package struct TokenNames: Sendable, Hashable {
    package var beginning: String?
    package var end: String?

    package init(beginning: String? = "<bos>", end: String? = "<eos>") {
      self.beginning = beginning
      self.end = end
    }
  }

  private let nodes: [TemplateNode]
  private let names: TokenNames

  /// Gemma's turns as in its newest templates, without images.
  ///
  /// A turn is `<start_of_turn>user`, a line end, the message and `<end_of_turn>`. The assistant's
  /// role is called model; a system message is put before the first user message, into the same
  /// turn.
  package static let gemmaTurns = ChatTemplate(nodes: gemmaNodes, names: TokenNames())

  // The template of google/gemma-3-1b-it, reduced to text.
  private static let gemmaNodes: [TemplateNode] = {
    let source = """
      {{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set prefix = messages[0]['content'] \
      + '\\n\\n' %}{% set turns = messages[1:] %}{% else %}{% set prefix = '' %}\
      {% set turns = messages %}{% endif %}{% for turn in turns %}\
      {% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception(\
      'Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
      {{ '<start_of_turn>' + ('model' if turn['role'] == 'assistant' else turn['role']) + '\\n' \
      + (prefix if loop.first else '') }}{{ turn['content'] | trim }}{{ '<end_of_turn>\\n' }}\
      {% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}
      """
    // A test parses this constant as well, so parsing cannot fail here.
    return (try? TemplateParser.parse(source)) ?? []
  }()

  private init(nodes: [TemplateNode], names: TokenNames) {
    self.nodes = nodes
    self.names = names
  }

  /// Parses a model's template and tries it on a message.
  ///
  /// - Throws: `GemmaError.template` if it is not valid Jinja, uses something unsupported, or drops
  ///   the user's message.
  package init(
    _ source: String,
    names: TokenNames = TokenNames(),
    context: String = ""
  ) throws(GemmaError) {
    let probe = "A word."
    do throws(GemmaError) {
      self.init(nodes: try TemplateParser.parse(source), names: names)
      let text = try render([ChatMessage(role: .user, content: probe)], startsReply: true)
      guard text.contains(Array(probe.utf8)) else {
        throw GemmaError(.template, "what the user says is left out")
      }
    } catch {
      throw GemmaError(
        .template,
        "the model's chat template cannot be followed: \(error.message); use --raw to send the"
          + " prompt without one",
        context: context
      )
    }
  }

  /// Returns the prompt for a conversation.
  ///
  /// - Parameters:
  ///   - messages: The conversation. Most templates want a system message, if there is one, first,
  ///     and then user and assistant messages by turns.
  ///   - startsReply: Whether the prompt ends with the opening of the assistant's turn.
  /// - Returns: The prompt, for `Tokenizer.encode`.
  /// - Throws: `GemmaError.template` if there is no message, or if the template refuses the
  ///   messages.
  package func pieces(
    _ messages: [ChatMessage],
    startsReply: Bool = true
  ) throws(GemmaError) -> [PromptPiece] {
    guard messages.contains(where: { $0.role != .system && $0.role != .developer }) else {
      throw GemmaError(.template, "the conversation has no message of a user")
    }
    return try render(messages, startsReply: startsReply).parts.map { part in
      let text = String(decoding: part.bytes, as: UTF8.self)
      return part.isPlain ? .plain(text) : .template(text)
    }
  }

  private func render(
    _ messages: [ChatMessage],
    startsReply: Bool
  ) throws(GemmaError) -> TemplateText {
    let list = messages.map { message in
      TemplateValue.map([
        "role": .literal(message.role.rawValue),
        "content": .text(TemplateText(message.content, isPlain: true)),
      ])
    }
    // Like transformers, it passes None for tools and documents, of which there are none.
    var values: [String: TemplateValue] = [
      "messages": .list(list), "add_generation_prompt": .bool(startsReply), "tools": .nothing,
      "documents": .nothing,
    ]
    if let beginning = names.beginning { values["bos_token"] = .literal(beginning) }
    if let end = names.end { values["eos_token"] = .literal(end) }
    return try TemplateRun.text(
      of: nodes,
      values,
      byteCount: messages.reduce(0) { $0 + $1.content.utf8.count }
    )
  }
}
