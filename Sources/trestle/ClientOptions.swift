// The options with which commands find the coordinator that they ask.

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
      "Timeout: give up when the coordinator has been silent for this long.",
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
  /// - Parameter onHealth: Called with the health of the workers from time to time, while an answer
  ///   is awaited.
  /// - Returns: A client.
  /// - Throws: `ClientError` if no process listens there, `CommandError` if keys are missing.
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
  /// - Parameter onHealth: Called with the health of the workers from time to time, while an answer
  ///   is awaited.
  /// - Returns: A client.
  /// - Throws: `ClientError` if the system refuses a socket.
  func connect(
    onHealth: @escaping @Sendable (HealthReply) -> Void = { _ in }
  ) throws -> CoordinatorClient {
    try CoordinatorClient(endpoint, onNews: tellingOfSilence(at: endpoint, onHealth))
  }
}

/// Returns a handler for a client's news that reports silence on stderr.
private func tellingOfSilence(
  at endpoint: Endpoint,
  _ onHealth: @escaping @Sendable (HealthReply) -> Void
) -> @Sendable (ClientNews) -> Void {
  { news in
    switch news {
    case .silence(let duration):
      printError("no answer from \(endpoint) for \(duration); still waiting")
    case .health(let health): onHealth(health)
    }
  }
}
