// What the coordinator's tests are made of: a plan, a model, greetings and requests.

import Content
import Gemma
import ModelFiles
import TestSupport
import Wire

@testable import Coordinator

extension Harness {
  static let fingerprint = Digest(of: [0xFE, 0xED])

  /// Workers cpu0, cpu1, … of two layers each; the last has the logits.
  static func plan(_ count: Int) -> [PlannedWorker] {
    (0..<count).map {
      PlannedWorker(
        name: "cpu\($0)",
        device: "cpu",
        slice: ModelSlice(
          layers: (2 * $0)..<(2 * $0 + 2),
          vocabulary: $0 == count - 1 ? 0..<64 : 0..<0
        )
      )
    }
  }

  static func limits(
    context: Int = 64,
    slots: Int = 4,
    maxRows: Int = 16,
    queued: Int = 64
  ) -> CoordinatorLimits {
    var limits = CoordinatorLimits(contextTokens: context, slots: slots)
    limits.maxRows = maxRows
    limits.queuedSessions = queued
    return limits
  }

  static let layerCount = 6

  /// The layer whose keys and values a layer reads.
  static func kvSource(_ layer: Int) -> Int { layer == 5 ? 1 : layer }

  static func served(
    vocabularySize: Int = 64,
    ends: [Int32] = [1],
    tokenizer: Tokenizer? = nil,
    template: Result<ChatTemplate, GemmaError> = .failure(
      GemmaError(.template, "the model has no chat template")
    )
  ) -> ServedModel {
    // The last layer shares the keys and values of the first but one, as Gemma 3n's do.
    let layers = (0..<layerCount).map { layer in
      LayerRecord(
        attention: .full,
        headCount: 1,
        kvHeadCount: 1,
        headDim: 8,
        attentionScale: 1,
        rope: LayerRecord.RopeParameters(theta: 10_000),
        kvSource: kvSource(layer),
        feedForwardSize: 8,
        sparsityDeviations: nil
      )
    }
    let config = ModelConfig(
      architecture: .gemma3,
      vocabularySize: vocabularySize,
      hiddenSize: 8,
      contextTokens: 1024,
      normEpsilon: 1e-6,
      normGainOffset: 1,
      normsValues: false,
      finalSoftcap: nil,
      bosToken: 2,
      eosTokens: ends,
      layers: layers
    )
    return ServedModel(
      name: "tiny",
      fingerprint: fingerprint,
      config: config,
      cost: DecodeCost(
        layers: Array(repeating: 1, count: config.layers.count),
        head: 1,
        vocabularySize: vocabularySize
      ),
      tokenizer: tokenizer,
      template: template
    )
  }

  static func hello(_ name: String, device: String = "cpu") -> Hello {
    Hello(
      name: name,
      device: device,
      isEmulated: false,
      pid: 100,
      threads: 2,
      fingerprint: fingerprint,
      modelName: "tiny",
      layerCount: layerCount,
      dataEndpoint: "ipc:///\(name.isEmpty ? "worker" : name)",
      memoryBytes: 1 << 30,
      resultsIdentity: PeerID([0xD0])
    )
  }

  static func heartbeat(
    loadFraction: Double = 1,
    rejected: UInt64 = 0
  ) -> Heartbeat {
    Heartbeat(
      loadFraction: loadFraction,
      steps: 3,
      stepInProgressMicroseconds: 0,
      residentBytes: 4096,
      kvBytes: 512,
      rejectedMessages: rejected
    )
  }

  static func sampling(seed: UInt64 = 7) -> Sampling {
    Sampling(
      temperature: 1,
      topK: 0,
      topP: 1,
      minP: 0,
      repeatPenalty: 1,
      repeatWindow: 64,
      seed: seed
    )
  }

  static func generate(
    _ prompt: Prompt,
    request: UInt64 = 1,
    count: Int = 8,
    seed: UInt64 = 7,
    stops: [String] = [],
    ignoresEnd: Bool = false,
    template: Bool = false
  ) -> Message {
    .generate(
      Generate(
        request: request,
        prompt: prompt,
        appliesChatTemplate: template,
        parsesSpecial: false,
        maxTokens: count,
        sampling: sampling(seed: seed),
        stops: stops,
        ignoresEndOfTurn: ignoresEnd
      )
    )
  }

  static func evaluate(
    _ tokens: [Int32],
    _ kind: EvaluationKind,
    request: UInt64 = 1,
    firstScored: Int = 0
  ) -> Message {
    .evaluate(
      Evaluate(request: request, tokens: tokens, kind: kind, firstScored: firstScored)
    )
  }
}
