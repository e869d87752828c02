// The models that somebody may mean who names none: those of the working directory, or else those that have been fetched.

import Hub
import ModelFiles

/// Models that need no fetching.
struct ModelsAtHand {
  /// As `--model` takes them.
  let names: [String]

  /// A small model for whoever has none.
  static let example = "ggml-org/gemma-3-270m-GGUF:Q8_0"

  init() throws {
    let local = Self.local()
    guard local.isEmpty else {
      names = local
      return
    }
    let cache = HubCache(try HubSettings.program(isOffline: true).cache)
    names = cache.models().filter(\.isComplete).map { "\($0.reference)" }
  }

  /// The working directory if it is a model; else the models in it.
  private static func local() -> [String] {
    let entries = ModelPath.names(in: ".")
    guard !entries.contains("config.json") else { return ["."] }
    let files = entries.filter { $0.hasSuffix(".gguf") && (SplitName($0)?.index ?? 1) == 1 }
    let directories = entries.filter { (try? ModelPath($0)) != nil && ModelPath.isDirectory($0) }
    return files + directories
  }

  /// Returns the only one.
  ///
  /// - Throws: `CommandError` that says what there is to choose from.
  func only() throws -> ModelName {
    guard let name = names.first else {
      throw CommandError(
        "no model in this directory, and none has been fetched; give --model, a path or a name on a hub such as"
          + " \(Self.example)"
      )
    }
    guard names.count == 1 else {
      throw CommandError("--model is missing; there are \(names.prefix(8).joined(separator: ", "))")
    }
    printError("model: \(name)")
    return ModelName(argument: name)
  }
}
