// How commands that ask a coordinator find it.

import ArgumentParser
import Client
import Launch
import Wire

/// How a client finds its coordinator.
struct ClientOptions: ParsableArguments {
  @OptionGroup var endpoint: EndpointOptions
  @OptionGroup var security: PeerSecurityOptions

  @Option(
    help: ArgumentHelp(
      "Give up after so long without a sign of life of the coordinator.",
      valueName: "seconds"
    )
  )
  var timeout = 60

  func validate() throws {
    guard (1...86_400).contains(timeout) else {
      throw ValidationError("--timeout \(timeout) is outside 1...86400 seconds.")
    }
  }

  /// Connects to the coordinator.
  ///
  /// - Parameter onHealth: Told how the workers are, now and then, while an answer is awaited.
  /// - Returns: A client.
  /// - Throws: `ClientError` if nobody is there, `CommandError` if keys are missing.
  func connect(
    onHealth: @escaping @Sendable (HealthReply) -> Void = { _ in }
  ) throws -> CoordinatorClient {
    let endpoint = try endpoint.resolve()
    return try CoordinatorClient(
      endpoint,
      security: security.peer(of: endpoint),
      timeout: .seconds(timeout),
      onNews: tellingOfSilence(at: endpoint, onHealth)
    )
  }
}

extension PrivatePipeline {
  /// Connects to the pipeline.
  ///
  /// - Parameter onHealth: Told how the workers are, now and then, while an answer is awaited.
  /// - Returns: A client.
  /// - Throws: `ClientError` if the system refuses a socket.
  func connect(
    onHealth: @escaping @Sendable (HealthReply) -> Void = { _ in }
  ) throws -> CoordinatorClient {
    try CoordinatorClient(endpoint, onNews: tellingOfSilence(at: endpoint, onHealth))
  }
}

/// Returns what a command does with a client's news: silence is told on stderr.
private func tellingOfSilence(
  at endpoint: Endpoint,
  _ onHealth: @escaping @Sendable (HealthReply) -> Void
) -> @Sendable (ClientNews) -> Void {
  { news in
    switch news {
    case .silence(let duration):
      printError("no answer from \(endpoint) for \(duration); waiting on")
    case .health(let health): onHealth(health)
    }
  }
}
