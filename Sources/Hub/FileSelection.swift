// Which files of a repository make the model that somebody asked for.

internal import Foundation
internal import ModelFiles

/// The files of one model, and which of them is given to whoever opens it.
struct FileSelection: Equatable {
  var files: [HubFile]
  /// The GGUF file, or the first of its parts; nil if the directory is the model.
  var entry: String?

  /// Quantisations in the order in which one is chosen for a user who names none: small and still good first, as
  /// llama.cpp has it.
  private static let usual = ["q4_k_m", "q4_0", "q8_0"]

  /// - Parameters:
  ///   - files: The files of the repository.
  ///   - reference: What was asked for.
  /// - Throws: `HubError.missing` that names what is there, `HubError.ambiguous`.
  init(_ files: [HubFile], _ reference: ModelReference) throws(HubError) {
    let models = files.filter { Self.isModel($0.path) }
    if let wanted = reference.quantisation {
      let entries = Self.entries(of: wanted, models.map(\.path))
      guard !entries.isEmpty else { throw Self.missing(wanted, models.map(\.path), reference) }
      try self.init(only: entries, files, reference)
    } else if !models.isEmpty {
      let paths = models.map(\.path)
      let entries = Self.usual.lazy.map { Self.entries(of: $0, paths) }.first { !$0.isEmpty }
      try self.init(only: entries ?? [paths[0]], files, reference)
    } else {
      try self.init(directory: files, reference)
    }
  }

  private init(
    only entries: [String],
    _ files: [HubFile],
    _ reference: ModelReference
  ) throws(HubError) {
    guard entries.count == 1 else { throw Self.ambiguous(entries, reference) }
    try self.init(entry: entries[0], files, reference)
  }

  /// The error for a name that means several files.
  static func ambiguous(_ entries: [String], _ reference: ModelReference) -> HubError {
    HubError(
      .ambiguous,
      "has several such files; name one behind a colon: \(entries.prefix(8).joined(separator: ", "))",
      context: "\(reference)"
    )
  }

  private init(entry: String, _ files: [HubFile], _ reference: ModelReference) throws(HubError) {
    self.entry = entry
    self.files = []
    for path in Self.parts(of: entry) {
      guard let file = files.first(where: { $0.path == path }) else {
        throw HubError(
          .missing,
          "lacks \(path), a part of the model",
          context: "\(reference.repository)"
        )
      }
      self.files.append(file)
    }
  }

  private init(directory files: [HubFile], _ reference: ModelReference) throws(HubError) {
    let wanted = files.filter { Self.belongsToDirectory($0.path) }
    guard wanted.contains(where: { $0.path == "config.json" }),
      wanted.contains(where: { $0.path.hasSuffix(".safetensors") })
    else {
      throw HubError(
        .missing,
        "holds no model in GGUF or safetensors; it has "
          + (files.isEmpty ? "no files" : files.prefix(8).map(\.path).joined(separator: ", ")),
        context: "\(reference.repository)"
      )
    }
    self.files = wanted
    entry = nil
  }

  /// Whether a file is a model, or the first part of one.
  static func isModel(_ path: String) -> Bool {
    ModelPath.isModelFile(name(of: path))
  }

  static func name(of path: String) -> String {
    path.split(separator: "/").last.map(String.init) ?? path
  }

  /// Returns the paths of all parts of a model.
  static func parts(of entry: String) -> [String] {
    guard let split = SplitName(name(of: entry)) else { return [entry] }
    let directory = entry.dropLast(name(of: entry).count)
    return (1...split.count).map { directory + split.part($0).name }
  }

  /// Returns the models whose path, or else a part of whose name between other signs, is what was asked for.
  static func entries(of wanted: String, _ models: [String]) -> [String] {
    let exact = models.filter { $0 == wanted }
    guard exact.isEmpty else { return exact }
    let wanted = wanted.lowercased()
    let named = models.filter { path in
      words(of: path).contains(wanted) || name(of: path).lowercased() == wanted
    }
    return named.isEmpty ? models.filter { contains(wanted, in: stem(of: $0)) } : named
  }

  /// The name in small letters, without the `.gguf` that all have.
  private static func stem(of path: String) -> String {
    String(name(of: path).lowercased().dropLast(".gguf".count))
  }

  /// What stands between dots and dashes.
  private static func words(of path: String) -> [String] {
    stem(of: path).split { $0 == "." || $0 == "-" }.map(String.init)
  }

  /// Whether a name has a part with no letter or digit on either side.
  private static func contains(_ part: String, in name: String) -> Bool {
    name.ranges(of: part).contains { range in
      let before = name[..<range.lowerBound].last, after = name[range.upperBound...].first
      return [before, after].allSatisfy {
        $0.map { !$0.isLetter && !$0.isNumber && $0 != "_" } ?? true
      }
    }
  }

  /// What each GGUF file of a commit is called by behind the colon: its quantisation if that means it alone, else its
  /// path.
  static func names(of paths: [String]) -> [String: String] {
    Dictionary(
      uniqueKeysWithValues: paths.map { path in
        let kind = quantisation(of: path)
        return (path, entries(of: kind, paths) == [path] ? kind : path)
      }
    )
  }

  /// What a GGUF file is called by behind the colon: the part of its name that tells the quantisation; else its path.
  static func quantisation(of path: String) -> String {
    let kind =
      /(?:^|[-._])((?:I?Q[0-9]|T?Q[0-9]|BF16|F16|F32|MXFP4)[A-Za-z0-9_]*)(?=-[0-9]{5}-of-|\.gguf$)/
    guard let match = name(of: path).firstMatch(of: kind.ignoresCase()) else { return path }
    return String(match.1)
  }

  /// Whether a file belongs to a model in Hugging Face layout.
  private static func belongsToDirectory(_ path: String) -> Bool {
    guard !path.contains("/") else { return false }
    let names = [
      "config.json", "tokenizer.model", "special_tokens_map.json", "generation_config.json",
      "chat_template.jinja", "chat_template.json", "model.safetensors.index.json",
    ]
    return names.contains(path) || path.hasPrefix("tokenizer") && path.hasSuffix(".json")
      || path.hasSuffix(".safetensors") && !path.hasPrefix("adapter")
  }

  private static func missing(
    _ wanted: String,
    _ models: [String],
    _ reference: ModelReference
  ) -> HubError {
    let names = names(of: models)
    return HubError(
      .missing,
      "has no GGUF file for \(wanted)"
        + (models.isEmpty
          ? "; it has none at all"
          : "; it has \(models.prefix(16).compactMap { names[$0] }.joined(separator: ", "))"),
      context: "\(reference.repository)"
    )
  }
}
