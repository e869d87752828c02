// The model that a command is given: a path, or the name of one on a hub, which is fetched if it is missing.

import ArgumentParser
import Glibc
import Hub
import Launch
import ModelFiles
import Platform
import Wire

/// `--model`: a path, or `ORG/NAME` or `ORG/NAME:QUANT`.
struct ModelName: ExpressibleByArgument, CustomStringConvertible {
  var description: String

  init(argument: String) { description = argument }

  static let help =
    "A .gguf file, a model directory, or a name on a hub such as ggml-org/gemma-3-270m-GGUF:Q8_0."

  /// Finds the model; one that is only on the hub is fetched first.
  ///
  /// - Parameter interrupt: A descriptor that ends the fetching when it is readable; nil if a signal ends the process.
  /// - Returns: What to open.
  /// - Throws: `HubError`, or `CommandError` if the user does not want to fetch it.
  func path(interruptedBy interrupt: CInt? = nil) throws -> String {
    guard !ModelPath.exists(description), let reference = reference else { return description }
    let settings = try HubSettings.program(isOffline: false)
    if let known = HubCache(settings.cache).model(reference) { return known.path }
    guard !settings.isOffline else { throw offlineError(reference, settings) }
    return try fetch(
      reference,
      revision: "main",
      settings,
      PullLine(asks: true),
      interruptedBy: interrupt
    ).path
  }

  /// The name that it is, unless it looks like a path of this machine.
  private var reference: ModelReference? {
    guard let reference = try? ModelReference(description) else { return nil }
    let isFile = reference.quantisation == nil && description.hasSuffix(".gguf")
    return isFile || ModelPath.exists(reference.repository.organisation) ? nil : reference
  }
}

extension HubSettings {
  /// The settings of the user of this program.
  static func program(isOffline: Bool) throws(HubError) -> HubSettings {
    var settings = try HubSettings(
      environment: { name in unsafe getenv(name).map { unsafe String(cString: $0) } },
      home: UserCache.home ?? "/nonexistent",
      agent: "trestle/\(programVersion)"
    )
    if isOffline { settings.isOffline = true }
    return settings
  }
}

/// Returns why a model is not to be had without the hub.
func offlineError(_ reference: ModelReference, _ settings: HubSettings) -> HubError {
  HubError(
    .missing,
    "is not in the cache (\(settings.cache)), or not all of it, and the hub is not asked (HF_HUB_OFFLINE or --offline);"
      + " `trestle models` shows what is there",
    context: "\(reference)"
  )
}

/// Fetches a model, and shows how it goes.
///
/// - Parameters:
///   - reference: The model.
///   - revision: A branch, a tag or a commit.
///   - settings: The hub, the cache, and who asks.
///   - line: What shows it.
///   - interrupt: A descriptor that ends it when it is readable.
/// - Returns: The model, whole.
/// - Throws: `HubError`; `Interrupted`.
func fetch(
  _ reference: ModelReference,
  revision: String,
  _ settings: HubSettings,
  _ line: PullLine,
  interruptedBy interrupt: CInt?
) throws -> FetchedModel {
  let cancellation = Cancellation()
  let outcome = Lock<Result<FetchedModel, any Error>?>(nil)
  let done = try Mailbox<Void>()
  let thread = try Platform.Thread {
    let result = Result {
      try HubPull(settings, cancellation: cancellation).run(reference, revision: revision, line)
    }
    outcome.withLock { $0 = result }
    done.post(())
  }
  var awaited = [done.descriptor, interrupt].compactMap(\.self)
  while outcome.withLock({ $0 == nil }) {
    let ready = try poll(sockets: [], descriptors: awaited, timeout: nil)
    guard let interrupt, ready.contains(descriptor: interrupt) else { continue }
    cancellation.cancel()
    awaited = [done.descriptor]
  }
  thread.join()
  line.clear()
  guard let result = outcome.withLock({ $0 }) else { preconditionFailure("no result") }
  do { return try result.get() } catch let error as HubError where error.code == .interrupted {
    printError("what has come of \(reference) is kept; the same command goes on")
    throw Interrupted()
  }
}
