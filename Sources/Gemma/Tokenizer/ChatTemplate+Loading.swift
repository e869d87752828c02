// Finds and loads the chat template of a model.

package import ModelFiles

extension ChatTemplate {
  /// Reads the template of a GGUF file.
  ///
  /// - Throws: `GemmaError.template` if the file has none, or one that is not supported.
  package static func load(
    from file: GGUFFile,
    names: TokenNames = TokenNames()
  ) throws(GemmaError) -> ChatTemplate {
    let key = "tokenizer.chat_template"
    return try make(try file.string(key).map { ($0, "\(key) of \(file.path)") }, file.path, names)
  }

  /// Parses a template that is not of the model's files.
  ///
  /// - Throws: `GemmaError.template` if it is not supported.
  package static func parse(
    _ source: String,
    for tokenizer: Tokenizer
  ) throws(GemmaError) -> ChatTemplate {
    try make((source, ""), "", tokenizer.names)
  }

  /// Reads the template of a directory in Hugging Face layout.
  ///
  /// - Throws: `GemmaError.template` if there is none, or one that is not supported; and errors of
  ///   reading.
  package static func load(
    directory: String,
    names: TokenNames = TokenNames()
  ) throws(GemmaError) -> ChatTemplate {
    try make(try source(in: directory), directory, names)
  }

  fileprivate static let missing = "the model has no chat template"

  private static func make(
    _ found: (source: String, place: String)?,
    _ modelPath: String,
    _ names: TokenNames
  ) throws(GemmaError) -> ChatTemplate {
    guard let (source, place) = found else {
      throw GemmaError(
        .template,
        "\(missing), so it is probably no chat model",
        context: modelPath
      )
    }
    var template = try ChatTemplate(source, names: names, context: place)
    if isOutdated(source) {
      template.note =
        "the chat template is an early version of Gemma 4's, which writes thinking and tools otherwise than the"
        + " model was tuned for; take the newest files of the model"
    }
    return template
  }

  /// Whether a source is an early version of Gemma 4's template: it has calls of tools, but not the part for
  /// messages of tools, by which llama.cpp tells the versions, too (common/chat.cpp).
  private static func isOutdated(_ source: String) -> Bool {
    source.contains("<|tool_call>call:") && !source.contains("{#- OpenAI Chat Completions:")
  }

  // Returns the template's text and its place. The newest place is searched first: a file of its
  // own, then chat_template.json, then a member of tokenizer_config.json.
  static func source(
    in modelPath: String
  ) throws(GemmaError) -> (source: String, place: String)? {
    let jinja = modelPath + "/chat_template.jinja"
    if ModelPath.exists(jinja) {
      let file = try MappedFile.open(jinja)
      let limit = 1 << 20
      guard file.size <= limit else {
        throw GemmaError(
          .template,
          "has \(file.size) bytes, at most \(limit) are read",
          context: jinja
        )
      }
      return (String(decoding: try file.read(offset: 0, count: file.size), as: UTF8.self), jinja)
    }
    for name in ["chat_template.json", "tokenizer_config.json"] {
      let path = "\(modelPath)/\(name)"
      guard ModelPath.exists(path) else { continue }
      guard let value = try JSONObject.read(path).value("chat_template") else { continue }
      guard let source = text(value) else {
        throw GemmaError(
          .template,
          "chat_template is neither a text nor a list with one named default",
          context: path
        )
      }
      return (source, path)
    }
    return nil
  }

  // Accepts a template, or a list of named ones, from which it takes the default.
  private static func text(_ value: JSONValue) -> String? {
    if let text = value.string { return text }
    return value.array?.first { $0["name"]?.string == "default" }?["template"]?.string
  }
}

extension Checkpoint {
  /// Reads the model's chat template from its files, without reading their headers again.
  ///
  /// A model with Gemma 4's vocabulary whose template is missing or cannot be followed gets Gemma 4's turns
  /// instead, with a note that says so.
  ///
  /// - Parameter tokenizer: Names the tokens that the template may output.
  /// - Returns: The template.
  /// - Throws: `GemmaError.template` if there is none, or one that is not supported; and errors of
  ///   reading.
  package func chatTemplate(for tokenizer: Tokenizer?) throws(GemmaError) -> ChatTemplate {
    let names = tokenizer.map(\.names) ?? ChatTemplate.TokenNames()
    do throws(GemmaError) {
      if let gguf { return try ChatTemplate.load(from: gguf, names: names) }
      return try ChatTemplate.load(directory: path, names: names)
    } catch  where error.code == .template && tokenizer?.vocabulary.isGemma4 == true {
      // The small models have per-layer inputs, the larger ones have none.
      var template = ChatTemplate.gemma4Turns(closesThought: config.perLayerInput == nil)
      let reason =
        error.message.hasPrefix(ChatTemplate.missing) ? ChatTemplate.missing : error.message
      template.note = "chats use the turns of Gemma 4 that this program knows, because \(reason)"
      return template
    }
  }
}

extension Tokenizer {
  /// The texts of the tokens that a chat template may refer to.
  fileprivate var names: ChatTemplate.TokenNames {
    func text(_ token: Int32?) -> String? {
      token.flatMap { bytes(of: $0) }.map { String(decoding: $0, as: UTF8.self) }
    }
    return ChatTemplate.TokenNames(beginning: text(bosToken), end: text(eosTokens.first))
  }
}
