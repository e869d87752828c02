// Where a model keeps its chat template.

extension ChatTemplate {
  /// Loads and recognises the template that belongs to a model.
  ///
  /// The path is a .gguf file or a directory in Hugging Face layout.
  ///
  /// - Throws: `GemmaError.template` if there is none or none we know, and what reading throws.
  package static func load(for modelPath: String) throws(GemmaError) -> ChatTemplate {
    guard let (source, place) = try source(for: modelPath) else {
      throw GemmaError(
        .template,
        "the model has no chat template, so it is probably no chat model; use --raw to send the prompt without one",
        context: modelPath
      )
    }
    return try ChatTemplate(recognising: source, context: place)
  }

  // The template's text and where it stood. The newest place goes first: a file of its own, then
  // chat_template.json, then a member of tokenizer_config.json.
  private static func source(
    for modelPath: String
  ) throws(GemmaError) -> (source: String, place: String)? {
    guard Tokenizer.isDirectory(modelPath) else {
      let file = try GGUFFile.open(modelPath)
      let key = "tokenizer.chat_template"
      return try file.string(key).map { ($0, "\(key) of \(modelPath)") }
    }
    let jinja = modelPath + "/chat_template.jinja"
    if Tokenizer.exists(jinja) {
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
      guard Tokenizer.exists(path) else { continue }
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

  // A template, or a list of named ones of which the default counts.
  private static func text(_ value: JSONValue) -> String? {
    if let text = value.string { return text }
    return value.array?.first { $0["name"]?.string == "default" }?["template"]?.string
  }
}
