// What a connection does while nothing comes: it acknowledges what it has read, asks whether the
// coordinator still runs and what has become of the requests, and gives up after a timeout.

internal import Wire

extension ConnectionMachine {
  /// The timeout for the first answer over tcp.
  ///
  /// It is shorter, because a wrong key looks the same as a silent coordinator.
  private static let firstSilence = Duration.seconds(10)
  /// After this much silence the user is told that the client is still waiting.
  private static let worryingSilence = Duration.seconds(10)
  /// How often a silent coordinator is asked whether it still runs.
  private static let askInterval = Duration.seconds(2)

  mutating func tick(_ now: ContinuousClock.Instant) -> [ConnectionAction] {
    if ledger.isDue, hasSentAll { send(.receipt(ledger.takeReceipt())) }
    guard isWaiting else { return [] }
    let isKnown = hasHeard || endpoint.socketPath != nil
    let patience = isKnown ? timeout : min(timeout, Self.firstSilence)
    if now - heard > patience {
      let text = "no answer from \(endpoint) in \(patience)\(isKnown ? "" : advice)"
      return failAll(ClientError(.silent, text))
    }
    var actions: [ConnectionAction] = []
    if !hasTold, now - heard > Self.worryingSilence {
      hasTold = true
      actions.append(.tell(.silence(Self.worryingSilence)))
    }
    let quiet = now - Self.askInterval
    if asked < quiet, open.values.contains(where: { $0.progressed < quiet }) {
      asked = now
      ask(about: open.filter { $0.value.heard < quiet })
      actions.append(.probe)
    }
    return actions
  }

  /// Asks whether the coordinator still runs, and what has become of the requests that have heard
  /// nothing.
  private mutating func ask(about quiet: [UInt64: Request]) {
    // While the socket accepts nothing, more questions would only queue up.
    guard hasSentAll else { return }
    send(.healthRequest(HealthRequest(request: 0)))
    let sessions = quiet.filter(\.value.kind.isSession).keys.sorted()
    send(.receipt(ledger.takeReceipt(awaited: sessions.suffix(Limits.awaited))))
    // A question may have been lost with a coordinator that was restarted, so it is sent again
    // (retry).
    for question in quiet.values.compactMap(\.question) { send(question) }
    // A request that must not be sent twice is lost if the coordinator was started after it. The
    // status tells when that was.
    if quiet.values.contains(where: \.isDeed) {
      send(.statusRequest(StatusRequest(request: 0)))
    }
  }

  /// How much later than a request a coordinator must have been started to count as restarted.
  ///
  /// It allows for clocks that run apart and for the time that the answer took.
  private static let slack = Duration.seconds(1)

  /// Fails the deeds that were sent before the coordinator was started, because the one that
  /// received them has gone.
  mutating func failAsked(before start: ContinuousClock.Instant) -> [ConnectionAction] {
    let lost = open.filter { $0.value.isDeed && $0.value.began + Self.slack < start }.keys.sorted()
    return lost.map { id in
      open[id] = nil
      return .finish(
        id,
        ClientError(
          .lost,
          "the coordinator at \(endpoint) was restarted before it answered",
          context: "\(endpoint)"
        )
      )
    }
  }
}
