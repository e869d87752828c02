// Messages for the tests of the client.

import Content
import Wire

@testable import Client

/// A prompt that asks for as much as there is.
let anyPrompt = Generate(
  request: 0,
  prompt: .tokens([2]),
  appliesChatTemplate: false,
  parsesSpecial: false,
  maxTokens: 1000,
  sampling: Sampling(
    temperature: 0,
    topK: 0,
    topP: 1,
    minP: 0,
    repeatPenalty: 1,
    repeatWindow: 0,
    seed: 0
  ),
  stops: [],
  ignoresEndOfTurn: true
)

func generate(_ request: UInt64) -> Message {
  var generate = anyPrompt
  generate.request = request
  return .generate(generate)
}

func accepted(_ request: UInt64, place: Int = 0) -> Message {
  .accepted(Accepted(request: request, promptTokens: 1, queuePosition: place))
}

func delta(_ request: UInt64, _ text: String) -> Message {
  .delta(Delta(request: request, text: text, tokens: text.utf8.map { Int32($0) }))
}

func finished(_ request: UInt64, _ reason: FinishReason = .stop) -> Message {
  .finished(
    Finished(
      request: request,
      reason: reason,
      promptTokens: 4,
      generatedTokens: 3,
      timing: RequestTiming(
        firstTokenMicroseconds: 2000,
        prefillMicroseconds: 2000,
        decodeMicroseconds: 4000,
        totalMicroseconds: 6500
      ),
      placement: [
        PlacementEntry(
          worker: "cpu-0",
          device: "cpu",
          isEmulated: false,
          firstLayer: 0,
          endLayer: 3,
          firstVocabularyRow: 0,
          endVocabularyRow: 16
        )
      ]
    )
  )
}

func failed(_ request: UInt64, _ code: RequestFailureCode, _ message: String) -> Message {
  .requestFailed(RequestFailed(request: request, code: code, message: message))
}

func evaluated(_ request: UInt64, proof: UInt64, isLast: Bool = false) -> Message {
  .evaluated(
    Evaluated(
      request: request,
      firstPosition: 0,
      rowCount: 1,
      isLast: isLast,
      scores: [],
      proof: proof
    )
  )
}

func health(_ request: UInt64) -> Message {
  .healthReply(HealthReply(request: request, isHealthy: true, workers: []))
}

func status(_ request: UInt64) -> StatusReply {
  StatusReply(
    request: request,
    model: "tiny",
    epoch: 1,
    fingerprint: Digest(of: []),
    state: .ready,
    sessions: 0,
    queued: 0,
    tokensPerSecond: 0,
    uptimeMilliseconds: 1000,
    protocolErrors: 0,
    workers: []
  )
}

/// Answers questions for the status.
@Sendable func answerStatus(_ message: Message) -> [Message] {
  if case .statusRequest(let question) = message {
    [.statusReply(status(question.request))]
  } else {
    []
  }
}
