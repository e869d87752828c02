// Whole models on an emulated array: what the array and the CPU multiply is the same to the last bit, wherever a session is
// cut, and near what f32 gives.

import Compute
import Foundation
import Gemma
import NPUFake
import TestSupport
import Testing

@testable import NPUBackend

@Suite struct `Models on an NPU` {
  private static let families = ["gemma3-random-b", "gemma3n-random-a", "gemma4-random-a"]

  private func pipeline(
    _ checkpoint: Checkpoint,
    _ backend: NPU,
    _ split: [Int]? = nil,
    sharing previous: InProcessPipeline? = nil
  ) throws -> InProcessPipeline {
    try InProcessPipeline(
      checkpoint,
      backend: backend,
      split: split ?? [checkpoint.config.layers.count],
      limits: ExecutableLimits(maxRows: 128, slots: 2, contextTokens: 192),
      sharing: previous
    )
  }

  private func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

  @Test(arguments: families)
  func `the array and the CPU give the same logits, however a session is cut`(
    _ name: String
  ) throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    let longest = try Goldens.load(name).cases.map(\.ids).max { $0.count < $1.count } ?? []
    let tokens = longest.prefix(70).map(Int32.init)
    let onCPU = try NPU.emulated(EmulatedKernel(), leastRows: .max)
    let want = bits(try pipeline(checkpoint, onCPU).logits(tokens: tokens))
    #expect(onCPU.statistics.dispatches == 0)
    let onArray = try NPU.emulated(EmulatedKernel(), leastRows: 4)
    #expect(bits(try pipeline(checkpoint, onArray).logits(tokens: tokens)) == want)
    let dispatches = onArray.statistics.dispatches
    #expect(dispatches > 0)
    // Chunks of 37 rows, then of 33; the last three rows of a chunk of 3 are the CPU's.
    for chunk in [37, 3] {
      let got = try pipeline(checkpoint, onArray).logits(tokens: tokens, chunk: chunk)
      #expect(bits(got) == want, "chunks of \(chunk)")
    }
    #expect(onArray.statistics.dispatches > dispatches)
    #expect(onArray.statistics.retries == 0)
  }

  @Test func `all sixteen cores give the same logits as one`() throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
    let tokens = (0..<64).map { Int32($0 * 31 % 200 + 5) }
    let one = try NPU.emulated(EmulatedKernel(), leastRows: 4)
    let all = try NPU.emulated(EmulatedKernel(), leastRows: 4, side: 4)
    let want = bits(try pipeline(checkpoint, one).logits(tokens: tokens))
    #expect(bits(try pipeline(checkpoint, all).logits(tokens: tokens)) == want)
    // Of a layer: q, k and v; the output; gate and up; down.
    // Of the last layer k and v alone: nobody wants the other rows' output.
    let layers = checkpoint.config.layers.count - 1
    #expect(all.statistics.commands == 7 * layers + 2, "\(all.statistics)")
    #expect(all.statistics.dispatches == 4 * layers + 1, "\(all.statistics)")
  }

  /// Logits of random models are noise, and small errors grow in them.
  ///
  /// Real models are in docs/SPEED.md.
  @Test(arguments: families.map { ($0, 0.2, 0.75) } + [("demo-model", 0.01, 0.95)])
  func `what rounding costs stays within its bounds`(
    _ name: String,
    _ most: Double,
    _ least: Double
  ) throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint(name).path)
    let backend = try NPU.emulated(EmulatedKernel(), leastRows: .max)
    let golden = try Goldens.load(name)
    var (same, count) = (0, 0)
    for item in golden.cases {
      let got = try pipeline(checkpoint, backend).logits(tokens: item.ids.map(Int32.init))
      let want = try golden.logits(item)
      let largest = want.reduce(0) { max($0, abs($1)) }
      let error = zip(got, want).reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      let power = want.reduce(Float(0)) { $0 + $1 * $1 }
      #expect(Double(error / power).squareRoot() < most, "\(item): \((error / power).squareRoot())")
      #expect(largest > 1)
      let width = checkpoint.config.vocabularySize
      for first in stride(from: 0, to: want.count, by: width) {
        let (own, other) = (got[first..<first + width], want[first..<first + width])
        count += 1
        if own.indices.max(by: { own[$0] < own[$1] })
          == other.indices.max(by: { other[$0] < other[$1] })
        {
          same += 1
        }
      }
    }
    #expect(Double(same) > least * Double(count), "\(same) of \(count) tokens are the same")
  }

  @Test func `weights are rounded once, however often layers move`() throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
    let kernel = EmulatedKernel()
    let backend = try NPU.emulated(kernel, leastRows: 4)
    let first = try pipeline(checkpoint, backend)
    let sent = kernel.statistics.bytesToDevice
    let second = try pipeline(checkpoint, backend, sharing: first)
    #expect(kernel.statistics.bytesToDevice == sent)
    let footprint = second.stages[0].executable.footprint
    #expect(footprint.sharedWeightBytes == footprint.ownedWeightBytes)
  }

  @Test func `a projection takes time and computes nothing`() throws {
    let checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path)
    let device = try NPU.describe(EmulatedKernel(), threads: 1)
    var settings = NPUSettings()
    settings.leastRows = 4
    settings.leastElements = 1
    let backend = try NPU(projecting: device, threads: 1, settings: settings)
    let runner = try InProcessPipeline(
      checkpoint,
      backend: backend,
      split: [checkpoint.config.layers.count]
    )
    let began = ContinuousClock.now
    _ = try runner.logits(tokens: (0..<64).map { Int32($0 + 5) })
    // Four dispatches a layer, each of 80 us and what the controller takes to begin.
    let least = Duration.microseconds(100 * 4 * checkpoint.config.layers.count)
    #expect(ContinuousClock.now - began > least)
    #expect(backend.device.isEmulated)
  }
}
