// `trestle pull`: a model from a hub into the cache.

import ArgumentParser
import Hub

struct PullCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pull",
    abstract: "Fetch a model from a hub.",
    discussion: """
      REPO is ORG/NAME on huggingface.co (or HF_ENDPOINT). Of a repository with GGUF files, QUANT names one: \
      a part of its name such as Q4_K_M, or the whole. Without it, Q4_K_M is taken, else Q4_0, Q8_0, or the first. \
      Of a repository without, the safetensors files are fetched.

      Files go to the cache that other programs share (HF_HUB_CACHE, HF_HOME, ~/.cache/huggingface/hub), \
      and their digests are checked as they come. What has come stays when the command is interrupted: the \
      same command goes on. Gated models need a token: HF_TOKEN, or one saved by `hf auth login`.

      Prints what to give to --model. But --model takes the name, too, and fetches what is missing.

      EXAMPLE: trestle pull ggml-org/gemma-3-270m-GGUF:Q8_0
      """
  )

  @Argument(help: ArgumentHelp("ORG/NAME, or ORG/NAME:QUANT.", valueName: "repo"))
  var model: String

  @Option(help: "A branch, a tag or a commit.")
  var revision = "main"

  @Flag(help: "Only look into the cache.")
  var offline = false

  @Flag(help: "Print one JSON document.")
  var json = false

  func run() throws {
    try reportingFailures {
      let interrupt = try signalDescriptor()
      let reference = try ModelReference(model)
      let settings = try HubSettings.program(isOffline: offline)
      guard settings.isOffline else {
        let line = PullLine(asks: false)
        let pulled = try fetch(
          reference,
          revision: revision,
          settings,
          line,
          interruptedBy: interrupt
        )
        return try show(PullDocument(pulled))
      }
      guard let known = HubCache(settings.cache).model(reference, revision: revision) else {
        throw offlineError(reference, settings)
      }
      try show(PullDocument(known, revision: revision))
    }
  }

  private func show(_ document: PullDocument) throws {
    try printOut(json ? try trestle.json(document) : document.path)
  }
}

/// What `pull --json` prints.
struct PullDocument: Encodable {
  struct File: Encodable {
    var path: String
    var bytes: Int
  }
  var repository: String
  var revision: String
  var commit: String
  /// What to open.
  var path: String
  var bytes: Int
  /// The files of the model, as the hub has listed them; none if it was not asked.
  var files: [File]

  init(_ model: FetchedModel) {
    repository = "\(model.reference.repository)"
    revision = model.revision
    commit = model.commit
    path = model.path
    bytes = model.byteCount
    files = model.files.map { File(path: $0.path, bytes: $0.byteCount) }
  }

  init(_ model: CachedModel, revision: String) {
    repository = "\(model.reference.repository)"
    self.revision = revision
    commit = model.commit
    path = model.path
    bytes = model.byteCount
    files = []
  }
}
