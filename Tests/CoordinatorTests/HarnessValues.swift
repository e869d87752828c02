// What the coordinator's tests are made of: a plan, a model, greetings and requests.

import Compute
import Content
import Gemma
import ModelFiles
import TestSupport
import Wire
import Worker

@testable import Coordinator

extension Harness {
  static let fingerprint = Digest(of: [0xFE, 0xED])

  /// Up to three workers cpu-0, cpu-1, … of two layers each; the last has all that is left, and the logits.
  static func plan(_ count: Int, vocabularySize: Int = 64) -> [PlannedWorker] {
    (0..<count).map { index in
      let isLast = index == count - 1
      return PlannedWorker(
        name: "cpu-\(index)",
        device: "cpu",
        slice: ModelSlice(
          layers: (2 * index)..<(isLast ? layerCount : 2 * index + 2),
          vocabulary: isLast ? 0..<vocabularySize : 0..<0
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

  /// Every other layer sees five positions, so that rings are written over in a short session.
  ///
  /// The last one shares the keys and values of the first of these, as Gemma 3n's do.
  static let layers = (0..<layerCount).map { layer in
    LayerRecord(
      attention: layer % 2 == 0 ? .full : .sliding(window: 5),
      headCount: 1,
      kvHeadCount: 1,
      headDim: 8,
      attentionScale: 1,
      rope: LayerRecord.RopeParameters(theta: 10_000),
      kvSource: layer == layerCount - 1 ? 1 : layer,
      feedForwardSize: 8
    )
  }

  static func served(
    vocabularySize: Int = 64,
    ends: [Int32] = [1],
    tokenizer: Tokenizer? = nil,
    template: Result<ChatTemplate, GemmaError> = .failure(
      GemmaError(.template, "the model has no chat template")
    ),
    suppressed: [Int32] = []
  ) -> ServedModel {
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
      // A byte a layer and a byte for all logits: as much as a token reads.
      footprint: footprint(
        Array(repeating: 1, count: config.layers.count),
        headBytes: 1,
        vocabularySize: vocabularySize
      ),
      ops: ModelOps(layers: Array(repeating: [], count: config.layers.count), logits: []),
      tokenizer: tokenizer,
      template: template,
      suppressedTokens: suppressed
    )
  }

  /// A device that can do everything, of two threads and a gibibyte.
  static func device(_ name: String = "cpu") -> DeviceDescription {
    DeviceDescription(
      kind: name == "npu" ? .npu : .cpu,
      name: name,
      memory: DeviceMemory(byteCount: 1 << 30, isHostMemory: true, isSharedByWorkers: true),
      hostThreads: 2,
      preferredRows: 128,
      rateHint: 2
    )
  }

  static func hello(_ name: String, device: String = "cpu") -> Hello {
    Hello(
      name: name,
      device: Device(Harness.device(device)),
      pid: 100,
      fingerprint: fingerprint,
      modelName: "tiny",
      layerCount: layerCount,
      dataEndpoint: "ipc:///\(name.isEmpty ? "worker" : name)",
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

  /// Returns a request with some settings of its sampling changed.
  static func generate(
    _ prompt: Prompt,
    request: UInt64 = 1,
    count: Int = 8,
    changing change: (inout Generate) -> Void
  ) -> Message {
    let message = generate(prompt, request: request, count: count)
    guard case .generate(var changed) = message else { return message }
    change(&changed)
    return .generate(changed)
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

extension Harness {
  /// A coordinator that serves a model which answers a prompt of so many tokens with a text.
  static func answering(
    _ text: String,
    _ tokenizer: Tokenizer,
    promptCount: Int = 2,
    template: ChatTemplate? = nil
  ) -> Harness {
    let size = tokenizer.vocabularySize
    var model = TokenModel(vocabularySize: size)
    let tokens = tokenizer.encode(text, addBOS: false, parseSpecial: true)
    for (index, token) in tokens.enumerated() { model.script[promptCount + index] = token }
    let missing = GemmaError(.template, "none")
    let harness = Harness(
      limits: Harness.limits(context: 96, maxRows: 64),
      model: model,
      served: Harness.served(
        vocabularySize: size,
        ends: tokenizer.eosTokens,
        tokenizer: tokenizer,
        template: template.map { .success($0) } ?? .failure(missing)
      )
    )
    harness.serve()
    return harness
  }
}
