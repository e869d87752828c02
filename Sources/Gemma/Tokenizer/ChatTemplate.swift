// Converts a conversation into a prompt, with the Jinja template that the model ships and the
// interpreter in Template/. ChatTemplate+Loading.swift finds the template.

package import ModelFiles

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
  /// Whether a prompt that asks for thoughts is another than one that does not.
  package private(set) var asksForThoughts = false
  /// Whether it writes tools and their calls, and does so as Gemma 4 does.
  package private(set) var writesGemma4Calls = false
  /// What a user should know of the template, in words: that it is not the file's own, or outdated.
  package var note: String?

  /// Gemma's turns as in the newest templates of Gemma 3, without images.
  ///
  /// A turn is `<start_of_turn>user`, a line end, the message and `<end_of_turn>`. The assistant's
  /// role is called model; a system message is put before the first user message, into the same
  /// turn.
  package static let gemmaTurns = builtIn(gemmaSource)

  // The template of google/gemma-3-1b-it, reduced to text.
  private static let gemmaSource = """
    {{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set prefix = messages[0]['content'] \
    + '\\n\\n' %}{% set turns = messages[1:] %}{% else %}{% set prefix = '' %}\
    {% set turns = messages %}{% endif %}{% for turn in turns %}\
    {% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception(\
    'Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
    {{ '<start_of_turn>' + ('model' if turn['role'] == 'assistant' else turn['role']) + '\\n' \
    + (prefix if loop.first else '') }}{{ turn['content'] | trim }}{{ '<end_of_turn>\\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}
    """

  /// Parses a template of this program's own.
  static func builtIn(_ source: String) -> ChatTemplate {
    // Tests parse all of them as well, so parsing cannot fail here.
    ChatTemplate(nodes: (try? TemplateParser.parse(source)) ?? [], names: TokenNames())
  }

  private init(nodes: [TemplateNode], names: TokenNames) {
    self.nodes = nodes
    self.names = names
    let prompt = try? render([Self.probe], startsReply: true)
    asksForThoughts = (try? render([Self.probe], startsReply: true, thinks: true)) != prompt
    let call = ChatMessage.ToolCall(id: "1", name: "f", arguments: .object([:]))
    let called = [Self.probe, ChatMessage(role: .assistant, content: "", toolCalls: [call])]
    let withTools = try? render(called, startsReply: true, tools: [Self.toolProbe])
    writesGemma4Calls = ["<|tool>declaration:f{", "<|tool_call>call:f{"].allSatisfy {
      withTools?.contains(Array($0.utf8)) ?? false
    }
  }

  private static let probe = ChatMessage(role: .user, content: "A word.")
  private static let toolProbe = JSONValue.object([
    "type": .string("function"),
    "function": .object([
      "name": .string("f"), "description": .string("A tool."),
      "parameters": .object(["type": .string("object"), "properties": .object([:])]),
    ]),
  ])

  /// Parses a model's template and tries it on a message.
  ///
  /// - Throws: `GemmaError.template` if it is not valid Jinja, uses something unsupported, or drops
  ///   the user's message.
  package init(
    _ source: String,
    names: TokenNames = TokenNames(),
    context: String = ""
  ) throws(GemmaError) {
    do throws(GemmaError) {
      self.init(nodes: try TemplateParser.parse(source), names: names)
      let text = try render([Self.probe], startsReply: true)
      guard text.contains(Array(Self.probe.content.utf8)) else {
        throw GemmaError(.template, "what the user says is left out")
      }
    } catch {
      throw GemmaError(
        .template,
        "the model's chat template cannot be followed: \(error.message)",
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
  ///   - thinks: Whether the model shall think before it answers.
  ///   - tools: The tools that it may call, in the form of OpenAI's interface.
  /// - Returns: The prompt, for `Tokenizer.encode`.
  /// - Throws: `GemmaError.template` if there is no message, if the template refuses the messages, or if it
  ///   has no way to ask for thoughts.
  package func pieces(
    _ messages: [ChatMessage],
    startsReply: Bool = true,
    thinks: Bool = false,
    tools: [JSONValue] = []
  ) throws(GemmaError) -> [PromptPiece] {
    guard messages.contains(where: { $0.role != .system && $0.role != .developer }) else {
      throw GemmaError(.template, "the conversation has no message of a user")
    }
    guard asksForThoughts || !thinks else {
      throw GemmaError(
        .template,
        "the model's chat template has no way to ask for thoughts"
      )
    }
    let text = try render(messages, startsReply: startsReply, thinks: thinks, tools: tools)
    return text.parts.map { part in
      let text = String(decoding: part.bytes, as: UTF8.self)
      return part.isPlain ? .plain(text) : .template(text)
    }
  }

  private func render(
    _ messages: [ChatMessage],
    startsReply: Bool,
    thinks: Bool = false,
    tools: [JSONValue] = []
  ) throws(GemmaError) -> TemplateText {
    // Like transformers, it passes None for tools and documents if there are none.
    var values: [String: TemplateValue] = [
      "messages": .list(messages.map(\.value)), "add_generation_prompt": .bool(startsReply),
      "tools": tools.isEmpty ? .nothing : .list(tools.map { TemplateValue($0) }),
      "documents": .nothing,
    ]
    // Undefined otherwise, as for a caller of transformers who says nothing of it.
    if thinks { values["enable_thinking"] = .bool(true) }
    if let beginning = names.beginning { values["bos_token"] = .literal(beginning) }
    if let end = names.end { values["eos_token"] = .literal(end) }
    return try TemplateRun.text(
      of: nodes,
      values,
      size: TemplateRun.Size(
        byteCount: messages.reduce(0) { $0 + $1.byteCount } + tools.reduce(0) { $0 + $1.byteCount },
        messageCount: messages.count
      )
    )
  }
}
