// The metadata of a GGUF file for an opened model: config, tokenizer and chat template.

package import ModelFiles

extension Checkpoint {
  /// What the types of the tensors decide, and how the tensors were split into files; a new file has its own.
  private static let keysOfTypes: Set<String> = [
    "general.file_type", "general.quantization_version",
  ]

  /// Returns the metadata of a GGUF file with this model's tensors (`ggufTensors`), without the keys that depend on
  /// their types: `general.file_type` and `general.quantization_version`.
  ///
  /// A GGUF file's own keys stay as they are. Of a directory, the text model's config, its tokenizer and its chat
  /// template are converted. A directory without a tokenizer gives a file without one, which takes and gives token
  /// ids only.
  ///
  /// - Throws: `GemmaError.unsupported` if GGUF has no keys for what the model has, and errors of reading its files.
  package func ggufMetadata() throws(GemmaError) -> [(key: String, value: GGUFMetadataValue)] {
    if let gguf {
      return gguf.metadata.filter {
        !Self.keysOfTypes.contains($0.key) && !$0.key.hasPrefix("split.")
      }
    }
    var metadata: [(key: String, value: GGUFMetadataValue)] = [
      ("general.architecture", .string(config.architecture.rawValue)),
      ("general.type", .string("model")), ("general.name", .string(name)),
    ]
    metadata += try config.ggufMetadata()
    guard hasTokenizer else { return metadata + idsOnly }
    let tokenizer = try tokenizer()
    metadata += try tokenizer.ggufMetadata(config, suppressed: try suppressedTokens(tokenizer))
    if let template = try ChatTemplate.source(in: path) {
      metadata.append(("tokenizer.chat_template", .string(template.source)))
    }
    return metadata
  }

  /// The keys of a model without a tokenizer (`no_vocab` in src/llama-vocab.cpp of llama.cpp).
  private var idsOnly: [(key: String, value: GGUFMetadataValue)] {
    let special =
      [("bos_token_id", GGUFMetadataValue.uint32(UInt32(config.bosToken)))] + config.endKeys
    return [
      ("\(config.architecture.rawValue).vocab_size", .count(config.vocabularySize)),
      ("tokenizer.ggml.model", .string("no_vocab")),
    ] + special.map { ("tokenizer.ggml.\($0.0)", $0.1) }
  }
}
