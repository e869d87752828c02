// Where results are first no finite numbers: the op, and what made them so.

import CPUBackend
import Compute
import Foundation
import Gemma
import TestSupport
import Testing

@Suite struct `Numbers that are none` {
  private let checkpoint: Checkpoint
  private let batch = Batch(
    rows: (0..<6).map { Row(slot: 1, position: $0, token: Int32(7 * $0 + 3), isWanted: $0 == 5) }
  )

  init() throws {
    checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
  }

  private func compile(
    _ backend: any Backend,
    _ weights: any WeightSource
  ) throws -> ProgramRunner {
    try backend.prepare(
      checkpoint.config.lower(0..<checkpoint.config.layers.count, weights: checkpoint),
      weights: weights,
      limits: ExecutableLimits(maxRows: 8, slots: 2, contextTokens: 32)
    ) { _ in }
  }

  private func backends(_ cacheType: CacheType = .f32) throws -> [any Backend] {
    try instructionSets.map {
      try CPU(threads: 2, pinnedTo: nil, cacheType: cacheType, instructionSet: $0)
    }
  }

  private func expect(
    _ runner: ProgramRunner,
    _ cause: NonFinite.Cause,
    layer: Int?,
    _ op: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let outputs = try runner.run(batch, inputs: [])
    #expect(!outputs.allSatisfy(areFinite), sourceLocation: sourceLocation)
    let found = runner.firstNonFinite(batch, inputs: [])
    let first = try #require(found, sourceLocation: sourceLocation)
    let program = runner.program
    #expect(first.cause == cause, sourceLocation: sourceLocation)
    #expect(program.layer(of: program.ops[first.op]) == layer, sourceLocation: sourceLocation)
    #expect(program.ops[first.op].name == op, sourceLocation: sourceLocation)
  }

  @Test(arguments: [
    ("layers.2.mlp.down_proj", Int?(2), "feedForward"),
    ("layers.0.self_attn.q_proj", 0, "projectQueries"),
    ("layers.9.self_attn.o_proj", 9, "matmul"),
    ("norm", nil, "mergeStreams"),
  ])
  func `one NaN in a weight is found, with the weight and its layer`(
    _ name: String,
    _ layer: Int?,
    _ op: String
  ) throws {
    let weights = ChangedWeights(checkpoint, name) { $0[$0.count / 2] = .nanOfBFloat16 }
    for backend in try backends() + [ReferenceBackend()] {
      try expect(try compile(backend, weights), .weight(name), layer: layer, op)
    }
  }

  @Test func `an infinite gain is found, with its layer`() throws {
    let name = "layers.1.input_layernorm"
    let weights = ChangedWeights(checkpoint, name) { $0[3] = .infinityOfBFloat16 }
    for backend in try backends() + [ReferenceBackend()] {
      let runner = try compile(backend, weights)
      _ = try runner.run(batch, inputs: [])
      let first = try #require(runner.firstNonFinite(batch, inputs: []))
      #expect(first.cause == .weight(name))
    }
  }

  /// Values of layer 4 that are 2^30 times larger: beyond f16 and q8_0, not beyond f32.
  private var large: ChangedWeights {
    ChangedWeights(checkpoint, "layers.4.self_attn.v_proj") {
      $0 = $0.map { $0.scaled(byPowerOfTwo: 30) }
    }
  }

  @Test(arguments: [CacheType.f16, .q8_0])
  func `values beyond a cache's type are told from values that are none`(
    _ cacheType: CacheType
  ) throws {
    for backend in try backends(cacheType) {
      let runner = try compile(backend, large)
      try expect(runner, .overflow(cacheType), layer: 4, "appendKV")
      // In a later step only the cache shows it.
      let later = Batch(rows: [Row(slot: 1, position: 6, token: 5, isWanted: true)])
      _ = try runner.run(later, inputs: [])
      let first = try #require(runner.firstNonFinite(later, inputs: []))
      #expect(first.cause == .overflow(cacheType))
    }
  }

  @Test func `a cache of f32 keeps large values, and all is finite`() throws {
    for backend in try backends() {
      let runner = try compile(backend, large)
      #expect(try runner.run(batch, inputs: []).allSatisfy(areFinite))
      #expect(runner.firstNonFinite(batch, inputs: []) == nil)
    }
  }

  @Test func `looking for them leaves slots as they were`() throws {
    let next = Batch(rows: [Row(slot: 1, position: 6, token: 5, isWanted: true)])
    for backend in try backends(.f16) + [ReferenceBackend()] {
      let executables = try (0..<2).map { _ in try compile(backend, checkpoint) }
      for runner in executables { _ = try runner.run(batch, inputs: []) }
      #expect(executables[0].firstNonFinite(batch, inputs: []) == nil)
      #expect(executables[0].positionCount(slot: 1) == 6)
      let logits = try executables.map { try $0.run(next, inputs: [])[0].map(\.bitPattern) }
      #expect(logits[0] == logits[1])
    }
  }
}
