// The model that a command is given: a path, or the name of one on a hub, which is fetched if it is missing.

import ArgumentParser
import Glibc
import Hub
import Launch
import ModelFiles
import Platform
import Wire

/// `--model`: a path, or a name on a hub, `ORG/NAME`, `ORG/NAME:QUANT` or either with `@REVISION`.
struct ModelName: ExpressibleByArgument, CustomStringConvertible {
  var description: String

  init(argument: String) { description = argument }

  static var defaultCompletionKind: CompletionKind { .file() }

  static let help =
    "A .gguf file, a model directory, or a name on a hub such as ggml-org/gemma-3-270m-GGUF:Q8_0."

  /// Finds the model; one that is only on the hub is fetched first.
  ///
  /// - Parameter interrupt: A descriptor that ends the fetching when it is readable; nil if a signal ends the process.
  /// - Returns: What to open.
  /// - Throws: `HubError`, or `CommandError` if the user does not want to fetch it.
  func path(interruptedBy interrupt: CInt? = nil) throws -> String {
    guard !ModelPath.exists(description), let reference = try hubName() else { return description }
    let settings = try HubSettings.program(isOffline: false)
    if let known = try HubCache(settings.cache).model(reference) { return known.path }
    guard !settings.isOffline else { throw offlineError(reference, settings) }
    return try fetch(
      reference,
      settings,
      PullLine(asks: true, interruptedBy: interrupt),
      interruptedBy: interrupt
    ).path
  }

  /// Returns the name that it is, unless it looks like a path of this machine.
  ///
  /// - Throws: `CommandError` for one that is both.
  private func hubName() throws -> ModelReference? {
    guard let reference = try? ModelReference(description) else { return nil }
    if reference.quantisation == nil, description.hasSuffix(".gguf") { return nil }
    let organisation = reference.repository.organisation
    guard ModelPath.exists(organisation), !description.contains("://") else { return reference }
    throw CommandError(
      "\(description) is not there: \(organisation) is here, so this is taken for a path of this machine; the model"
        + " of a hub has the name https://huggingface.co/\(reference), too"
    )
  }
}

extension HubSettings {
  /// The settings of the user of this program.
  static func program(isOffline: Bool) throws(HubError) -> HubSettings {
    try HubSettings(
      environment: { name in unsafe getenv(name).map { unsafe String(cString: $0) } },
      home: UserCache.home ?? "/nonexistent",
      agent: "trestle/\(programVersion)",
      isOffline: isOffline
    )
  }
}

/// Returns why a model is not to be had without the hub.
func offlineError(_ reference: ModelReference, _ settings: HubSettings) -> HubError {
  HubError(
    .missing,
    "is not in the cache (\(settings.cache)), or not all of it, and the hub is not asked (HF_HUB_OFFLINE, or --offline of pull);"
      + " `trestle models` shows what is there",
    context: "\(reference)"
  )
}

/// Fetches a model, and shows how it goes.
///
/// - Parameters:
///   - reference: The model.
///   - verifies: Whether to hash what is there.
///   - settings: The hub, the cache, and who asks.
///   - line: What shows it.
///   - interrupt: A descriptor that ends it when it is readable.
/// - Returns: The model, whole.
/// - Throws: `HubError`; `Interrupted`.
func fetch(
  _ reference: ModelReference,
  verifies: Bool = false,
  _ settings: HubSettings,
  _ line: PullLine,
  interruptedBy interrupt: CInt?
) throws -> FetchedModel {
  let cancellation = Cancellation()
  let outcome = Lock<Result<FetchedModel, any Error>?>(nil)
  let done = try Mailbox<Void>()
  let thread = try Platform.Thread {
    let result = Result {
      try HubPull(settings, cancellation: cancellation, verifies: verifies).run(reference, line)
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
    if line.hasBegun {
      printError("what has come of \(reference) is kept; the same command goes on")
    }
    throw Interrupted()
  }
}
