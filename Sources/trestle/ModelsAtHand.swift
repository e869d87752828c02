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
    names = Self.current(cache.models().filter(\.isComplete).map(\.reference)).map { "\($0)" }
  }

  /// Returns the models but for other revisions of those that are there as the branch main has them.
  private static func current(_ models: [ModelReference]) -> [ModelReference] {
    let main = Set(models.filter { $0.revision == nil })
    return models.filter { model in
      model.revision == nil
        || !main.contains(ModelReference(model.repository, quantisation: model.quantisation))
    }
  }

  /// The working directory if it is a model; else the models in it.
  private static func local() -> [String] {
    let entries = ModelPath.names(in: ".")
    guard !isModel(entries) else { return ["."] }
    let files = entries.filter { ModelPath.isModelFile($0) && !ModelPath.isDirectory($0) }
    let directories = entries.filter { entry in
      guard ModelPath.isDirectory(entry), let model = try? ModelPath(entry) else { return false }
      if case .gguf = model { return true }
      return isModel(ModelPath.names(in: entry))
    }
    return files + directories
  }

  /// Whether files are those of a model in Hugging Face layout: other programs have a config.json, too.
  private static func isModel(_ names: [String]) -> Bool {
    names.contains("config.json") && names.contains { $0.hasSuffix(".safetensors") }
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
      throw CommandError(
        "--model is missing; there are \(names.prefix(8).map(shellQuoted).joined(separator: ", "))"
      )
    }
    printError("model: \(name)")
    return ModelName(argument: name)
  }
}
