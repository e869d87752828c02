// What a chunk of a prompt costs on an NPU, for a real model: counted, and projected by arithmetic. `scripts/npu-chunk` runs it.

import Compute
import Foundation
import Gemma
import NPUFake
import TestSupport
import Testing

@testable import NPUBackend

@Suite struct `Chunks of a model` {
  private static let path = ProcessInfo.processInfo.environment["TRESTLE_NPU_MODEL"]

  @Test func `their dispatches, bytes and time are told`() throws {
    guard let path = Self.path else {
      print("skipped: TRESTLE_NPU_MODEL names no model; scripts/npu-chunk does")
      return
    }
    let checkpoint = try Checkpoint.open(path)
    let device = try NPU.describe(EmulatedKernel(), threads: 2)
    for (rows, clock) in [(128, 1.0e9), (128, 1.6e9), (256, 1.0e9), (256, 1.6e9)] {
      let backend = try NPU(projecting: device, threads: 2, clock: clock)
      let pipeline = try InProcessPipeline(
        checkpoint,
        backend: backend,
        split: [checkpoint.config.layers.count],
        limits: ExecutableLimits(maxRows: rows, slots: 1, contextTokens: rows)
      )
      let all = (0..<rows).map {
        Row(slot: 0, position: $0, token: Int32($0 * 31 % 200), isWanted: $0 == rows - 1)
      }
      let began = ContinuousClock.now
      _ = try pipeline.logits(Batch(rows: all))
      let whole = (ContinuousClock.now - began) / .seconds(1)
      let done = backend.statistics
      #expect(done.dispatches > checkpoint.config.layers.count)
      #expect(done.projectedSeconds > 0 && whole > done.projectedSeconds)
      let numbers = [
        Double(done.weightBytes) / 1e6, Double(done.inputBytes) / 1e6, Double(done.sumBytes) / 1e6,
        done.projectedSeconds * 1e3, Double(rows) / done.projectedSeconds,
      ].map { String(Int($0.rounded())) }
      print(
        "| \(checkpoint.name) | \(rows) | \(clock / 1e9) | \(done.dispatches) | \(done.commands) | "
          + numbers.joined(separator: " | ") + " |"
      )
    }
  }
}
