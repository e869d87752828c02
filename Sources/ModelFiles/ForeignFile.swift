// Files that are taken for a model's and are something else: told apart by their first bytes, so that
// the error says what the file is and not which byte is wrong.

extension MappedFile {
  /// Returns the fault of a file that does not begin as a model file must.
  ///
  /// - Parameter wanted: What was expected, for example "GGUF file".
  /// - Returns: An error that says what the file is, if it is told apart, and what to do.
  func foreign(_ wanted: String) -> ModelFilesError {
    let start = (try? read(offset: 0, count: min(size, 512))) ?? []
    let code: ModelFilesError.Code = .format
    guard let (what, advice) = Self.kind(of: start), what != wanted else {
      return ModelFilesError(
        code,
        "not a \(wanted): it begins with bytes \(start.prefix(4).map { Int($0) })",
        context: path
      )
    }
    return ModelFilesError(code, "not a \(wanted) but \(what); \(advice)", context: path)
  }

  /// Whether the file begins as one that is told apart by name, and not as JSON.
  var isForeign: Bool {
    let start = (try? read(offset: 0, count: min(size, 512))) ?? []
    return Self.kind(of: start).map { $0.what != "JSON" } ?? false
  }

  private static func kind(of start: [UInt8]) -> (what: String, advice: String)? {
    func begins(_ text: String) -> Bool { start.starts(with: Array(text.utf8)) }
    let text = String(decoding: start, as: UTF8.self).lowercased().drop { $0.isWhitespace }
    if begins("version https://git-lfs") {
      return (
        "a pointer of Git LFS: the repository was cloned without its large files",
        "fetch them with git lfs pull"
      )
    }
    if text.hasPrefix("<!doctype html") || text.hasPrefix("<html") || text.hasPrefix("<?xml") {
      return (
        "a web page: the download gave an error page or a login",
        "look into it with a text editor, and fetch the file again"
      )
    }
    if begins("GGUF") { return ("a GGUF file", "give it by itself, not in a model's directory") }
    if begins("PK\u{3}\u{4}") {
      return ("PyTorch weights or a ZIP archive", "give safetensors or GGUF")
    }
    if start.starts(with: [0x80, 0x02]) { return ("PyTorch weights", "give safetensors or GGUF") }
    if start.starts(with: [0x1F, 0x8B]) || start.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) {
      return ("a compressed file", "unpack it first")
    }
    if ["tjgg", "fmgg", "lmgg", "algg"].contains(where: begins) {
      return ("a model of the format before GGUF", "convert it anew with llama.cpp")
    }
    if text.hasPrefix("{\"") || text.hasPrefix("{\n") || text.hasPrefix("{ ") {
      return ("JSON", "give the model's directory, or a .gguf file")
    }
    // A safetensors file begins with the length of its JSON header.
    if start.count > 9, start[8] == UInt8(ascii: "{"), start[5...7].allSatisfy({ $0 == 0 }) {
      return ("a safetensors file", "give the directory that holds this file")
    }
    if !start.isEmpty, start.allSatisfy({ $0 == 0 }) {
      return ("zeros: the download has not finished, or lost its beginning", "fetch it again")
    }
    return nil
  }
}

extension GGUFFile {
  /// Refuses GGUF files that hold something else than a model, or nothing but its vocabulary.
  ///
  /// - Throws: `ModelFilesError.unsupported` that says what the file is and what to do.
  package func checkIsModel() throws(ModelFilesError) {
    let type = try string("general.type") ?? "model"
    let architecture = try string("general.architecture") ?? ""
    func refuse(_ message: String) throws(ModelFilesError) {
      throw ModelFilesError(.unsupported, message, context: path)
    }
    if type == "adapter" || value("adapter.type") != nil {
      try refuse(
        "is an adapter (LoRA), no model; merge it into its base model first"
          + " (llama-export-lora) and give the merged one"
      )
    }
    if type == "imatrix" || value("imatrix.datasets") != nil {
      try refuse("is an importance matrix, made for quantising; give the model itself")
    }
    if type == "mmproj" || type == "projector" || architecture == "clip" {
      try refuse(
        "is a projector (mmproj) that turns images or sound into embeddings; give the text model's"
          + " file beside it"
      )
    }
    guard type == "model" || type == "vocab" else { return try refuse("general.type is \(type)") }
    if tensors.isEmpty, value("tokenizer.ggml.tokens") != nil {
      try refuse("holds a vocabulary and no weights; it can be tokenized with, but not run")
    }
  }
}
