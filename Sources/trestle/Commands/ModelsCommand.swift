// `trestle models` and `trestle rm`: what has been fetched, and removing it.

import ArgumentParser
import Compute
import Glibc
import Hub
import Platform

struct ModelsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "models",
    abstract: "List the models that have been fetched.",
    discussion: """
      They lie in the cache that other programs share (HF_HUB_CACHE, HF_HOME, ~/.cache/huggingface/hub), so \
      theirs are listed, too. --model takes these names.
      """
  )

  @Flag(help: "Print one JSON document.")
  var json = false

  func run() throws {
    try reportingFailures {
      let settings = try HubSettings.program(isOffline: true)
      let document = ModelsDocument(HubCache(settings.cache))
      try printOut(json ? try trestle.json(document) : document.description)
    }
  }
}

/// What `models --json` prints.
struct ModelsDocument: Encodable, CustomStringConvertible {
  struct Model: Encodable {
    var name: String
    var commit: String
    var path: String
    var bytes: Int
    var complete: Bool
  }
  struct Unfinished: Encodable {
    var repository: String
    /// What it takes on the disk.
    var bytes: Int
  }
  var cache: String
  var models: [Model]
  var unfinished: [Unfinished]

  init(_ cache: HubCache) {
    self.cache = cache.directory
    models = cache.models().map { model in
      Model(
        name: "\(model.reference)",
        commit: model.commit,
        path: model.path,
        bytes: model.byteCount,
        complete: model.isComplete
      )
    }
    unfinished = cache.unfinished().map {
      Unfinished(repository: "\($0.repository)", bytes: $0.byteCount)
    }
  }

  var description: String {
    let rows =
      models.map { model in
        [
          model.name.printable, describe(bytes: UInt64(model.bytes)),
          model.complete ? "" : "parts are missing; pull it again",
        ]
      }
      + unfinished.map {
        [
          $0.repository, describe(bytes: UInt64($0.bytes)),
          "unfinished; pull it again, or remove it",
        ]
      }
    guard !rows.isEmpty else {
      return
        "no models in \(cache); `trestle pull \(ModelsAtHand.example)` fetches a small one"
    }
    return table(["NAME", "SIZE", ""], rows) + "\n\nin \(cache)"
  }
}

struct RemoveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rm",
    abstract: "Remove a model that has been fetched.",
    discussion: """
      REPO:QUANT removes one model, of the branch main or of the revision behind an @; REPO@REVISION the files of a \
      revision; REPO all of the repository, and what is unfinished of it. Other programs that share the cache lose \
      it, too.
      """
  )

  @Argument(
    help: ArgumentHelp("A name as `trestle models` shows it, or ORG/NAME.", valueName: "repo")
  )
  var model: String

  @Flag(name: .shortAndLong, help: "Do not ask.")
  var yes = false

  func run() throws {
    try reportingFailures {
      let reference = try ModelReference(model)
      let cache = HubCache(try HubSettings.program(isOffline: true).cache)
      let removal = try cache.removal(of: reference)
      if !yes {
        guard isatty(STDIN_FILENO) == 1 else {
          throw CommandError("nobody to ask whether to remove \(reference); give --yes")
        }
        let files = removal.names.isEmpty ? "" : " (\(removal.names.joined(separator: ", ")))"
        let question = "Remove \(reference)\(files) from \(cache.directory)?"
        guard try Terminal.confirm(question, default: false) else {
          throw CommandError("nothing is removed")
        }
      }
      let freed = max(try cache.remove(removal), 0)
      let names = removal.names.isEmpty ? "\(reference)" : removal.names.joined(separator: ", ")
      try printOut("removed \(names.printable): \(describe(bytes: UInt64(freed))) are free")
    }
  }
}
