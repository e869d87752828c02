// An emulated NPU in real pipelines of all families: the tokens are those that the CPU gives with the same rounding, also
// while layers move and after the device was lost.

import Client
import Compute
import CPUBackend
import Foundation
import Gemma
import NPUBackend
import NPUFake
import Platform
import TestSupport
import Testing
import Wire
import Worker

@testable import Launch

@Suite struct `Pipelines with an NPU` {
  private static let families = ["gemma3-random-b", "gemma3n-random-a", "gemma4-random-a"]

  /// An emulated NPU whose array multiplies steps of at least so many rows.
  private static func npu(leastRows: Int, faults: [FakeFault] = []) throws -> NPU {
    var settings = NPUSettings()
    settings.leastRows = leastRows
    settings.leastElements = 1
    settings.patience = .seconds(60)
    settings.side = 1
    return try NPU(
      EmulatedKernel(faults: faults),
      threads: 1,
      cacheType: .f16,
      settings: settings
    ) { _ in }
  }

  /// Runs `body` with a pipeline of some devices.
  private func withPipeline<Result>(
    of model: String,
    _ devices: [String],
    split: [Int],
    on npus: [NPU],
    _ body: (ThreadedPipeline) async throws -> Result
  ) async throws -> Result {
    var left = npus
    let first = npus[0]
    return try await withThreadedPipeline(
      of: model,
      devices,
      split: split,
      adding: [DeviceKind("npu") { _ in first }]
    ) { device in
      if device == "npu" { return left.removeFirst() }
      return try CPU(threads: 1, pinnedTo: nil, cacheType: .f16)
    } _: { pipeline in
      try pipeline.awaitReady()
      return try await body(pipeline)
    }
  }

  private static func request(_ seed: Int) -> Generate {
    Generate(
      request: 0,
      prompt: .tokens((0..<40).map { Int32(($0 * 7919 * seed) % 200 + 5) }),
      appliesChatTemplate: false,
      parsesSpecial: false,
      maxTokens: 12,
      sampling: Sampling(
        temperature: 1,
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

  private static func tokens(_ generation: Generation) async throws -> [Int32] {
    var document = GenerationDocument()
    for try await event in generation { document.add(event) }
    return document.tokens
  }

  /// What a pipeline says to two prompts, one after the other.
  private static func answers(_ client: CoordinatorClient) async throws -> [[Int32]] {
    var answers: [[Int32]] = []
    for seed in 1...2 { answers.append(try await tokens(client.generate(request(seed)))) }
    return answers
  }

  private func thirds(_ model: String) throws -> [Int] {
    let layers = try Checkpoint.open(Goldens.checkpoint(model).path).config.layers.count
    return [layers / 3, layers - 2 * (layers / 3), layers / 3]
  }

  @Test(arguments: families)
  func `between CPUs the array gives what the CPU gives with the same rounding`(
    _ model: String
  ) async throws {
    var answers: [[[Int32]]] = []
    for leastRows in [4, Int.max] {
      let npu = try Self.npu(leastRows: leastRows)
      let got = try await withPipeline(
        of: model,
        ["cpu", "npu", "cpu"],
        split: thirds(model),
        on: [npu]
      ) { pipeline in
        let workers = try await pipeline.connected().status().workers
        #expect(workers.map(\.device) == ["cpu", "npu", "cpu"])
        #expect(workers.map(\.isEmulated) == [false, true, false])
        return try await Self.answers(pipeline.connected())
      }
      // The worker's own test of its device is one dispatch.
      #expect((npu.statistics.dispatches > 8) == (leastRows == 4), "\(npu.statistics)")
      answers.append(got)
    }
    #expect(answers[0] == answers[1] && answers[0].allSatisfy { $0.count == 12 })
  }

  @Test(arguments: families)
  func `layers move between two, and a lost one is replaced, without another token`(
    _ model: String
  ) async throws {
    let layers = try thirds(model)
    let count = layers.reduce(0, +)
    let want = try await withPipeline(
      of: model,
      ["npu"],
      split: [count],
      on: [Self.npu(leastRows: 4)]
    ) { pipeline in
      try await Self.answers(pipeline.connected())
    }
    let split = [count / 2, count - count / 2]
    let moved = try await withPipeline(
      of: model,
      ["npu", "npu"],
      split: split,
      on: [Self.npu(leastRows: 4), Self.npu(leastRows: 4)]
    ) { pipeline in
      let client = try pipeline.connected()
      let streams = (1...2).map { client.generate(Self.request($0)) }
      for first in [count / 4, count / 2 + 1] {
        _ = try await client.rebalance(split: [first, count - first], logitsSplit: [])
      }
      var tokens: [[Int32]] = []
      for stream in streams { tokens.append(try await Self.tokens(stream)) }
      return tokens
    }
    #expect(moved == want)
    // In the middle of the first prompt; the first commands are those of a worker's own tests.
    let faults = [try #require(FakeFault(parsing: "removed@25"))]
    let replaced = try await withPipeline(
      of: model,
      ["npu", "npu"],
      split: split,
      on: [Self.npu(leastRows: 4), Self.npu(leastRows: 4, faults: faults)]
    ) { pipeline in
      let client = try pipeline.connected()
      let streams = (1...2).map { client.generate(Self.request($0)) }
      let error = try pipeline.awaitError()
      #expect((error as? WorkerError)?.code == .device, "\(String(describing: error))")
      try pipeline.start("npu-1", on: Self.npu(leastRows: 4))
      var tokens: [[Int32]] = []
      for stream in streams { tokens.append(try await Self.tokens(stream)) }
      return tokens
    }
    #expect(replaced == want)
  }
}
