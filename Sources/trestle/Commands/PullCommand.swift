// `trestle pull`: a model from a hub into the cache.

import ArgumentParser
import Hub

struct PullCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pull",
    abstract: "Fetch a model from a hub.",
    discussion: """
      REPO is ORG/NAME on huggingface.co (or HF_ENDPOINT, or MODEL_ENDPOINT). Of a repository with GGUF files, \
      QUANT names one: a part of its name such as Q4_K_M, or the whole. Without it, Q4_K_M is taken, else Q4_0, \
      Q8_0, or the first. Of a repository without, the safetensors files are fetched. @REVISION is a branch, a tag \
      or a commit; without it, the branch main is meant, which may change.

      Files go to the cache that other programs share (HF_HUB_CACHE, HF_HOME, ~/.cache/huggingface/hub), and their \
      digests are checked as they come; what is there is taken by its size, unless --verify is given. What has come \
      stays when the command is interrupted: the same command goes on. While the hub is away, what is whole is taken. \
      Gated models need a token: HF_TOKEN, or one saved by `hf auth login`.

      Prints what to give to --model. But --model takes the name, too, and fetches what is missing.

      EXAMPLE: trestle pull ggml-org/gemma-3-270m-GGUF:Q8_0
      """
  )

  @Argument(
    help: ArgumentHelp("ORG/NAME or ORG/NAME:QUANT, either with @REVISION.", valueName: "repo")
  )
  var model: String

  @Option(help: "A branch, a tag or a commit, as behind an @. Default: main.")
  var revision: String?

  @Flag(help: "Hash what is there, and fetch again what is damaged.")
  var verify = false

  @Flag(help: "Only look into the cache.")
  var offline = false

  @Flag(help: "Print one JSON document.")
  var json = false

  func run() throws {
    try reportingFailures {
      let interrupt = try signalDescriptor()
      let reference = try reference()
      let settings = try HubSettings.program(isOffline: offline)
      let cache = HubCache(settings.cache)
      guard !settings.isOffline else {
        guard !verify else {
          throw CommandError(
            "--verify asks the hub what is right, and the hub is not asked (HF_HUB_OFFLINE or --offline)"
          )
        }
        guard let known = try cache.model(reference) else {
          throw offlineError(reference, settings)
        }
        return try show(PullDocument(known))
      }
      let line = PullLine(asks: false, interruptedBy: interrupt)
      do {
        let pulled = try fetch(
          reference,
          verifies: verify,
          settings,
          line,
          interruptedBy: interrupt
        )
        try show(PullDocument(pulled))
      } catch let error as HubError where error.code == .network && !verify && !line.hasBegun {
        // A service that starts while the hub is away has what it had the last time.
        guard let known = try cache.model(reference) else { throw error }
        printError("\(error); what is in the cache is taken, commit \(known.commit)")
        try show(PullDocument(known))
      }
    }
  }

  private func reference() throws -> ModelReference {
    let reference = try ModelReference(model)
    guard let revision else { return reference }
    guard reference.revision == nil else {
      throw CommandError(
        "\(model) has a revision, and --revision \(revision) is another; give one of them"
      )
    }
    return try reference.at(revision)
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
    revision = model.reference.wantedRevision
    commit = model.commit
    path = model.path
    bytes = model.byteCount
    files = model.files.map { File(path: $0.path, bytes: $0.byteCount) }
  }

  init(_ model: CachedModel) {
    repository = "\(model.reference.repository)"
    revision = model.reference.wantedRevision
    commit = model.commit
    path = model.path
    bytes = model.byteCount
    files = []
  }
}
