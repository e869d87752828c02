// What a connection does while nothing comes: it tells what has come, asks whether the coordinator is
// there and what has become of the requests, and gives up after its patience.

internal import Wire

extension ConnectionMachine {
  /// How long one elsewhere may leave the first question unanswered: so is who has a wrong key.
  private static let firstSilence = Duration.seconds(10)
  /// After so much silence the user is told what is waited for.
  private static let worryingSilence = Duration.seconds(10)
  /// How often a silent coordinator is asked whether it is there.
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

  /// Asks whether the coordinator is there, and what has become of requests of which nothing was heard.
  private mutating func ask(about quiet: [UInt64: Request]) {
    // While the socket takes nothing, asking more often tells no more.
    guard hasSentAll else { return }
    send(.healthRequest(HealthRequest(request: 0)))
    let sessions = quiet.filter(\.value.kind.isSession).keys.sorted()
    send(.receipt(ledger.takeReceipt(awaited: sessions.suffix(Limits.awaited))))
    // A question may have been lost with a coordinator that was started anew.
    for question in quiet.values.compactMap(\.question) { send(question) }
    // What must not be asked twice is lost if the coordinator is younger than it.
    if quiet.values.contains(where: \.isDeed) {
      send(.statusRequest(StatusRequest(request: 0)))
    }
  }

  /// How much younger than a request a coordinator must be: the two clocks run apart, and the answer has
  /// been on its way.
  private static let slack = Duration.seconds(1)

  /// Ends deeds that were asked for before the coordinator was started: the one that was asked is gone.
  mutating func failAsked(before start: ContinuousClock.Instant) -> [ConnectionAction] {
    let lost = open.filter { $0.value.isDeed && $0.value.began + Self.slack < start }.keys.sorted()
    return lost.map { id in
      open[id] = nil
      return .finish(
        id,
        ClientError(
          .lost,
          "the coordinator at \(endpoint) was started anew before it answered",
          context: "\(endpoint)"
        )
      )
    }
  }
}
