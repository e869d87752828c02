// A device that no module has heard of in real pipelines, beside CPUs: it takes part, bit for bit, and is
// given only what it can run and hold.

import Client
import Compute
import Coordinator
import CPUBackend
import FakeGPUBackend
import Foundation
import Gemma
import Platform
import TestSupport
import Testing
import Wire
import Worker

@testable import Launch

@Suite struct `Pipelines with an imaginary GPU` {
  /// CPUs keep keys and values as the imaginary device does.
  private static func cpu() throws -> CPU {
    try CPU(threads: 1, pinnedTo: nil, cacheType: .f16)
  }

  /// Runs `body` with a pipeline of some devices, each worker started on the backend of its kind.
  private func withPipeline<Result>(
    of model: String = "gemma3-random-b",
    _ devices: [String],
    split: [Int]? = nil,
    on gpu: FakeGPU,
    _ body: (ThreadedPipeline) async throws -> Result
  ) async throws -> Result {
    // One line makes the device known, as it would in the program's own list.
    try await withThreadedPipeline(
      of: model,
      devices,
      split: split,
      adding: [DeviceKind("fake-gpu") { _ in gpu }],
      backend: { device in if device == "fake-gpu" { gpu } else { try Self.cpu() } },
      body
    )
  }

  /// What a pipeline says to some prompts: tokens drawn, and how likely each of the prompt's was.
  private struct Answers: Equatable {
    var tokens: [[Int32]] = []
    var scores: [[Double]] = []
  }

  /// A prompt that is longer than a step of the imaginary device.
  private static func request(_ seed: Int) -> Generate {
    Generate(
      request: 0,
      prompt: .tokens(prompt(seed)),
      appliesChatTemplate: false,
      parsesSpecial: false,
      maxTokens: 12,
      sampling: Sampling(
        temperature: seed == 1 ? 0 : 1,
        topK: 0,
        topP: 1,
        minP: 0,
        repeatPenalty: 1,
        repeatWindow: 64,
        seed: UInt64(seed)
      ),
      stops: [],
      ignoresEndOfTurn: true
    )
  }

  private static func prompt(_ seed: Int) -> [Int32] {
    (0..<40).map { Int32(($0 * 7919 * seed) % 200 + 5) }
  }

  private static func tokens(_ generation: Generation) async throws -> [Int32] {
    var document = GenerationDocument()
    for try await event in generation { document.add(event) }
    return document.tokens
  }

  private static func answers(_ client: CoordinatorClient) async throws -> Answers {
    var answers = Answers()
    for seed in 1...3 {
      answers.tokens.append(try await tokens(client.generate(request(seed))))
      answers.scores.append(try await client.scores(of: prompt(seed), from: 1))
    }
    return answers
  }

  private func expected(_ model: String = "gemma3-random-b") async throws -> Answers {
    try await withPipeline(of: model, ["cpu"], on: FakeGPU()) { pipeline in
      try pipeline.awaitReady()
      return try await Self.answers(pipeline.connected())
    }
  }

  @Test func `its answers are those of CPUs alone, bit for bit, and it is named`() async throws {
    let gpu = FakeGPU(arithmetic: try Self.cpu())
    let (workers, health, got) = try await withPipeline(["cpu", "fake-gpu", "cpu"], on: gpu) {
      pipeline in
      try pipeline.awaitReady()
      let workers = try await pipeline.connected().status().workers
      let got = try await Self.answers(pipeline.connected())
      return (workers, try await pipeline.connected().health(), got)
    }
    #expect(workers.map(\.name) == ["cpu-0", "fake-gpu-0", "cpu-1"])
    #expect(workers.map(\.device) == ["cpu", "fake-gpu", "cpu"])
    #expect(workers.map(\.isEmulated) == [false, true, false])
    // It is thought to be as fast as eight threads.
    let counts = workers.map { $0.endLayer - $0.firstLayer }
    #expect(counts[1] > counts[0] + counts[2], "\(counts)")
    // The last one may have but rows of the vocabulary.
    for worker in workers {
      #expect(
        worker.endLayer > worker.firstLayer
          || worker.endVocabularyRow > worker.firstVocabularyRow
      )
    }
    #expect(health.isHealthy && health.workers.map(\.device) == ["cpu", "fake-gpu", "cpu"])
    #expect(health.workers.map(\.isEmulated) == [false, true, false])
    #expect(try await expected() == got)
    #expect(gpu.usedByteCount == 0)
  }

  @Test func `a split that gives it layers with an op that it lacks is refused in words`()
    async throws
  {
    let error = try await withPipeline(
      of: "gemma3n-random-a",
      ["cpu", "fake-gpu"],
      split: [10, 20],
      on: FakeGPU()
    ) { try $0.awaitError() }
    let refusal = try #require(error as? CoordinatorError)
    #expect(refusal.code == .placement)
    #expect(
      refusal.message.contains(
        "worker fake-gpu-0 cannot run layer 10: op laurel: laurel has no kernel"
      ),
      "\(refusal)"
    )
  }

  @Test func `without a split such layers go to the others`() async throws {
    let model = "gemma3n-random-a"
    let gpu = FakeGPU(arithmetic: try Self.cpu())
    let (workers, got) = try await withPipeline(of: model, ["cpu", "fake-gpu"], on: gpu) {
      pipeline in
      try pipeline.awaitReady()
      let client = try pipeline.connected()
      return (try await client.status().workers, try await Self.answers(client))
    }
    let cpu = try #require(workers.first { $0.device == "cpu" })
    #expect(cpu.firstLayer == 0 && cpu.endLayer == 30)
    #expect(try await expected(model) == got)
  }

  @Test func `its own memory bounds its layers`() async throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
    let limits = CoordinatorLimits(contextTokens: 64, slots: 2).executable
    let two = try ModelFootprint(checkpoint)
      .held(ModelSlice(layers: 0..<2), in: limits, cacheType: .f16)
    for (memory, count) in [(two.total, 2), (two.total - 1, 1)] {
      let gpu = FakeGPU(memoryByteCount: memory)
      let workers = try await withPipeline(["fake-gpu", "cpu"], on: gpu) {
        try $0.awaitReady()
        return try await $0.connected().status().workers
      }
      #expect(workers.map { $0.endLayer - $0.firstLayer }.first == count)
    }
  }

  @Test func `a session goes on after its device was lost, and the worker says why it ended`()
    async throws
  {
    let first = FakeGPU(arithmetic: try Self.cpu())
    let (errors, got) = try await withPipeline(["cpu", "fake-gpu"], on: first) { pipeline in
      try pipeline.awaitReady()
      first.lose()
      let generation = try pipeline.connected().generate(Self.request(2))
      let error = try pipeline.awaitError()
      #expect((error as? WorkerError)?.code == .device, "\(String(describing: error))")
      // What a supervisor does.
      try pipeline.start("fake-gpu-0", on: FakeGPU(arithmetic: try Self.cpu()))
      let tokens = try await Self.tokens(generation)
      return (pipeline.errors, tokens)
    }
    #expect(errors.count == 1)
    #expect(try await expected().tokens[1] == got)
  }

  // Heads of two widths, layers that share keys and values of others, keys as values: what is moved and replayed
  // differs from layer to layer.
  @Test(arguments: Goldens.gemma4)
  func `Gemma 4 goes on while its layers move, and after its device was lost`(
    _ model: String
  ) async throws {
    let first = FakeGPU(arithmetic: try Self.cpu())
    let got = try await withPipeline(
      of: model,
      ["cpu", "fake-gpu", "cpu"],
      split: [4, 4, 4],
      on: first
    ) { pipeline in
      try pipeline.awaitReady()
      let client = try pipeline.connected()
      let streams = (1...3).map { client.generate(Self.request($0)) }
      var movedByteCount: UInt64 = 0
      for split in [[2, 9, 1], [7, 1, 4], [1, 4, 7], [5, 6, 1]] {
        movedByteCount += try await client.rebalance(split: split, logitsSplit: []).kvBytesMoved
      }
      #expect(movedByteCount > 0)
      var tokens: [[Int32]] = []
      for stream in streams { tokens.append(try await Self.tokens(stream)) }
      first.lose()
      let generation = client.generate(Self.request(2))
      _ = try pipeline.awaitError()
      try pipeline.start("fake-gpu-0", on: FakeGPU(arithmetic: try Self.cpu()))
      tokens.append(try await Self.tokens(generation))
      return tokens
    }
    let wanted = try await expected(model).tokens
    #expect(got == wanted + [wanted[1]])
  }
}
