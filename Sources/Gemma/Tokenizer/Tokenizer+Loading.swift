// Where a model keeps its tokenizer.

import Glibc

extension Tokenizer {
  /// Loads the tokenizer that belongs to a model.
  ///
  /// The path is a .gguf file, which holds its tokenizer, or a directory in Hugging Face layout,
  /// where tokenizer.json lies beside the weights.
  ///
  /// - Throws: `GemmaError.tokenizer` if there is none, and what reading it throws.
  package static func load(for modelPath: String) throws(GemmaError) -> Tokenizer {
    guard isDirectory(modelPath) else {
      return try Tokenizer(gguf: try GGUFFile.open(modelPath))
    }
    let path = modelPath + "/tokenizer.json"
    guard exists(path) else {
      throw GemmaError(
        .tokenizer,
        "the model's directory holds no tokenizer.json; put the model's own there",
        context: path
      )
    }
    let config = modelPath + "/tokenizer_config.json"
    return try Tokenizer(json: path, config: exists(config) ? config : nil)
  }

  /// Returns whether a model brings a tokenizer, sound or not; a GGUF file always should.
  package static func isPresent(for modelPath: String) -> Bool {
    !isDirectory(modelPath) || exists(modelPath + "/tokenizer.json")
  }

  static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }
}
