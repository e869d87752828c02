// The checked content of a tokenizer.json. Tokenizer+JSON.swift makes a tokenizer from it.

internal import ModelFiles

/// The content of a tokenizer.json.
struct TokenizerJSON {
  struct AddedToken {
    var text: String
    var id: Int32
    var isSpecial: Bool
    /// Whether it is searched for after spaces have become `▁`.
    var isNormalized: Bool
  }

  private(set) var vocabulary = Vocabulary()
  private(set) var merges = MergeTable()
  private(set) var addedTokens: [AddedToken] = []
  private(set) var unknownToken: Int32?
  private(set) var fusesUnknown = false
  private(set) var usesByteTokens = false
  /// Whether spaces become `▁`.
  private(set) var escapesSpaces = false
  /// The special tokens that the post-processor puts before and after a text.
  private(set) var leadingTokens: [String] = []
  private(set) var trailingTokens: [String] = []
  let path: String

  init(_ reader: inout JSONReader, path: String) throws(GemmaError) {
    self.path = path
    var parts: [String: JSONValue] = [:]
    var hasModel = false
    try reader.readObject { reader throws(GemmaError) in
      let name = reader.text
      switch name {
      case "model":
        guard !hasModel else { throw self.fault(.tokenizer, "model stands there twice") }
        hasModel = true
        try self.readModel(&reader)
      case "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder":
        parts[name] = try reader.readValue()
      default: try reader.skipValue()
      }
    }
    try reader.readEnd()
    guard hasModel, vocabulary.count > 0 else {
      throw fault(.tokenizer, "the file holds no model with a vocabulary")
    }
    try checkNormalizer(parts["normalizer"] ?? .null)
    try checkPreTokenizer(parts["pre_tokenizer"] ?? .null)
    try checkDecoder(parts["decoder"] ?? .null)
    try readAddedTokens(parts["added_tokens"] ?? .array([]))
    readPostProcessor(parts["post_processor"] ?? .null)
  }

  private mutating func readPostProcessor(_ value: JSONValue) {
    var isBehind = false
    for part in value["single"]?.array ?? [] {
      if part["Sequence"] != nil { isBehind = true }
      guard let token = part["SpecialToken"]?["id"]?.string else { continue }
      if isBehind { trailingTokens.append(token) } else { leadingTokens.append(token) }
    }
  }

  // MARK: The model

  private mutating func readModel(_ reader: inout JSONReader) throws(GemmaError) {
    var mergesOffset: Int?
    var unknown: String?
    try reader.readObject { reader throws(GemmaError) in
      switch reader.text {
      case "type":
        try reader.readString()
        guard reader.text == "BPE" else {
          throw self.fault(.unsupported, "model.type is \(reader.text.excerpt), only BPE is read")
        }
      case "vocab": try self.readVocabulary(&reader)
      case "merges":
        // Merges refer to tokens, which may come later in the file.
        mergesOffset = reader.offset
        try self.vocabulary.count > 0 ? self.readMerges(&reader) : reader.skipValue()
      case "unk_token":
        if !reader.readNull() {
          try reader.readString()
          unknown = reader.text
        }
      case "byte_fallback": self.usesByteTokens = try reader.readFlag()
      case "fuse_unk": self.fusesUnknown = try reader.readFlag()
      case let name: try self.checkOption(name, try reader.readValue())
      }
    }
    if merges.count == 0, let mergesOffset {
      let end = reader.offset
      reader.offset = mergesOffset
      try readMerges(&reader)
      reader.offset = end
    }
    if let unknown, vocabulary.count > 0 {
      unknownToken = vocabulary.id(of: unknown)
      guard unknownToken != nil else {
        throw fault(.tokenizer, "model.unk_token \(unknown.excerpt) is not in the vocabulary")
      }
    }
  }

  private func checkOption(_ name: String, _ value: JSONValue) throws(GemmaError) {
    switch (name, value) {
    case (_, .null), (_, .bool(false)), (_, .string("")), ("dropout", .integer(0)): return
    case ("ignore_merges", _), ("dropout", _), ("continuing_subword_prefix", _),
      ("end_of_word_suffix", _):
      throw fault(.unsupported, "model.\(name) is set, which is not supported")
    default: return
    }
  }

  private mutating func readVocabulary(_ reader: inout JSONReader) throws(GemmaError) {
    guard vocabulary.count == 0 else {
      throw fault(.tokenizer, "model.vocab stands there twice")
    }
    try reader.readObject { reader throws(GemmaError) in
      // Reading the number that follows does not change `string`.
      let id = try reader.readInteger()
      let text = reader.string[...]
      let kind: TokenKind = Vocabulary.byteValue(text) == nil ? .normal : .byte
      do throws(GemmaError) {
        try self.vocabulary.add(text, id: id, kind: kind)
      } catch {
        throw self.fault(error.code, "model.vocab: \(error.message) (\(error.context))")
      }
    }
  }

  private mutating func readMerges(_ reader: inout JSONReader) throws(GemmaError) {
    var both: [UInt8] = []  // one buffer for all, because there are half a million
    try reader.readArray { reader, rank throws(GemmaError) in
      guard rank < MergeTable.countLimit else {
        throw self.fault(.tokenizer, "model.merges has more than \(MergeTable.countLimit) entries")
      }
      both.removeAll(keepingCapacity: true)
      var middle: Int?
      if try reader.peek() == UInt8(ascii: "[") {
        try reader.readArray { reader, index throws(GemmaError) in
          try reader.readString()
          if index == 1 { middle = both.count }
          both += reader.string
          if index > 1 { middle = nil }
        }
      } else {
        try reader.readString()
        for byte in reader.string {
          if byte == 0x20, middle == nil { middle = both.count } else { both.append(byte) }
        }
      }
      guard let middle else {
        throw self.fault(.tokenizer, "model.merges[\(rank)] is not a pair of tokens")
      }
      try self.addMerge(both, middle: middle, rank: rank)
    }
  }

  private mutating func addMerge(
    _ both: [UInt8],
    middle: Int,
    rank: Int
  ) throws(GemmaError) {
    guard merges.add(both, middle: middle, rank: rank, in: vocabulary) else {
      let parts = [both[..<middle], both[middle...]].map { Vocabulary.name($0) }
      throw fault(
        .tokenizer,
        "model.merges[\(rank)] joins \(parts[0]) and \(parts[1]), but they or the result are not in model.vocab"
      )
    }
  }

  // MARK: What surrounds the model

  private mutating func checkNormalizer(_ value: JSONValue) throws(GemmaError) {
    if value.isNull { return }
    guard value["type"]?.string == "Replace", value["pattern"]?["String"]?.string == " ",
      value["content"]?.string == "▁"
    else { throw unsupported("normalizer", value, "Replace of a space by ▁") }
    escapesSpaces = true
  }

  // After the normalizer no spaces are left, so a split at spaces has no effect.
  private func checkPreTokenizer(_ value: JSONValue) throws(GemmaError) {
    if value.isNull { return }
    guard escapesSpaces, value["type"]?.string == "Split",
      value["pattern"]?["String"]?.string == " "
    else {
      throw unsupported("pre_tokenizer", value, "Split at spaces that the normalizer replaced")
    }
  }

  private func checkDecoder(_ value: JSONValue) throws(GemmaError) {
    if value.isNull { return }
    for step in value["decoders"]?.array ?? [value] {
      switch step["type"]?.string {
      case "Fuse", "ByteFallback": continue
      case "Replace"
      where step["pattern"]?["String"]?.string == "▁" && step["content"]?.string == " ":
        continue
      default: throw unsupported("decoder", step, "Replace of ▁ by a space, ByteFallback and Fuse")
      }
    }
  }

  private mutating func readAddedTokens(_ value: JSONValue) throws(GemmaError) {
    guard let tokens = value.array else { throw fault(.tokenizer, "added_tokens is not an array") }
    var seen: Set<Int> = []
    for (index, token) in tokens.enumerated() {
      let name = "added_tokens[\(index)]"
      guard let text = token["content"]?.string, let id = token["id"]?.integer else {
        throw fault(.tokenizer, "\(name) has no content, or no integer id")
      }
      for flag in ["single_word", "lstrip", "rstrip"] where try readFlag(token, flag, name) ?? false
      {
        throw fault(.unsupported, "\(name) \(text.excerpt) has \(flag) set, which is not supported")
      }
      guard seen.insert(id).inserted else {
        throw fault(.tokenizer, "\(name) \(text.excerpt) has id \(id), which another has")
      }
      let isSpecial =
        try readFlag(token, "special", name) ?? false || Tokenizer.turnMarks.contains(text)
      let kind: TokenKind = isSpecial ? .control : .userDefined
      if let known = vocabulary.id(of: text) {
        guard Int(known) == id else {
          throw fault(
            .tokenizer,
            "\(name) \(text.excerpt) has id \(id), but model.vocab says \(known)"
          )
        }
        vocabulary.setKind(kind, of: id)
      } else {
        do throws(GemmaError) {
          try vocabulary.add(Array(text.utf8)[...], id: id, kind: kind)
        } catch {
          throw fault(error.code, "\(name): \(error.message) (\(error.context))")
        }
      }
      let isNormalized = try readFlag(token, "normalized", name) ?? !isSpecial
      addedTokens.append(
        AddedToken(text: text, id: Int32(id), isSpecial: isSpecial, isNormalized: isNormalized)
      )
    }
    for mark in Tokenizer.turnMarks where !addedTokens.contains(where: { $0.text == mark }) {
      guard let id = vocabulary.id(of: mark) else { continue }
      vocabulary.setKind(.control, of: Int(id))
      addedTokens.append(AddedToken(text: mark, id: id, isSpecial: true, isNormalized: false))
    }
    guard vocabulary.isGemma4 else { return }
    vocabulary.markGemma4Tokens()
    let marks = Set(Gemma4Tokens.all)
    for index in addedTokens.indices where marks.contains(addedTokens[index].text) {
      addedTokens[index].isSpecial = true
    }
  }

  private func readFlag(
    _ token: JSONValue,
    _ flag: String,
    _ name: String
  ) throws(GemmaError) -> Bool? {
    guard let value = token[flag] else { return nil }
    guard let flag = value.bool else {
      throw fault(.tokenizer, "\(name).\(flag) is \(value.kind), neither true nor false")
    }
    return flag
  }

  private func unsupported(_ part: String, _ value: JSONValue, _ known: String) -> GemmaError {
    let type = value["type"]?.string?.excerpt ?? "of no type"
    return fault(.unsupported, "\(part) is \(type); only \(known) is supported")
  }

  private func fault(_ code: GemmaError.Code, _ message: String) -> GemmaError {
    GemmaError(code, message, context: path)
  }
}

extension JSONReader {
  // Reads true or false, where null means false.
  fileprivate mutating func readFlag() throws(GemmaError) -> Bool {
    readNull() ? false : try readBool()
  }
}
