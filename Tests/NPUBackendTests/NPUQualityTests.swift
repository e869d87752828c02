// How near a real model on an NPU is to the CPU: perplexity of a text, logits, and how often the likeliest token is the same.
// `scripts/npu-quality` runs it. The CPU multiplies, because it gives the array's bits at a thousand times the simulator's
// speed (`NPUModelTests`).

import Compute
import CPUBackend
import Foundation
import Gemma
import NPUFake
import TestSupport
import Testing

@testable import NPUBackend

@Suite struct `Quality of a model` {
  private static let environment = ProcessInfo.processInfo.environment
  private static let window = 512

  /// What two backends make of the second halves of windows.
  private struct Tally {
    var count = 0
    var losses = [0.0, 0.0]
    var sameTokens = 0
    var error = 0.0
    var power = 0.0

    mutating func add(_ own: [Float], _ other: [Float], next: Int32) {
      count += 1
      for (index, logits) in [own, other].enumerated() {
        losses[index] -= LogSoftmax(logits).logProbability(ofLogit: logits[Int(next)])
      }
      if Self.likeliest(own) == Self.likeliest(other) { sameTokens += 1 }
      for (a, b) in zip(own, other) {
        error += Double((a - b) * (a - b))
        power += Double(b * b)
      }
    }

    private static func likeliest(_ logits: [Float]) -> Int? {
      logits.indices.max { logits[$0] < logits[$1] }
    }
  }

  @Test func `its perplexity, logits and likeliest tokens are told`() throws {
    guard let path = Self.environment["TRESTLE_NPU_MODEL"],
      let file = Self.environment["TRESTLE_NPU_TEXT"]
    else {
      print("skipped: TRESTLE_NPU_TEXT names no text; scripts/npu-quality does")
      return
    }
    let checkpoint = try Checkpoint.open(path)
    let text = try String(contentsOfFile: file, encoding: .utf8)
    let tokens = try checkpoint.tokenizer().encode(text, addBOS: true, parseSpecial: false)
    var settings = NPUSettings()
    settings.leastRows = .max
    let npu = try NPU(EmulatedKernel(), threads: 2, settings: settings) { _ in }
    let backends: [any Backend] = [npu, try CPU(threads: 2, pinnedTo: nil)]
    let pipelines = try backends.map {
      try InProcessPipeline(
        checkpoint,
        backend: $0,
        split: [checkpoint.config.layers.count],
        limits: ExecutableLimits(maxRows: 64, slots: 1, contextTokens: Self.window)
      )
    }
    var tally = Tally()
    let width = checkpoint.config.vocabularySize
    for first in stride(from: 0, through: tokens.count - Self.window, by: Self.window) {
      let part = [checkpoint.config.bosToken] + tokens[(first + 1)..<(first + Self.window)]
      let logits = try pipelines.map { pipeline in
        pipeline.clear(slot: 0)
        return try pipeline.logits(tokens: part, chunk: 64)
      }
      for place in Self.window / 2..<Self.window - 1 {
        let row = place * width..<(place + 1) * width
        tally.add(Array(logits[0][row]), Array(logits[1][row]), next: part[place + 1])
      }
    }
    try #require(tally.count > 0, "\(tokens.count) tokens are less than a window")
    let perplexities = tally.losses.map { exp($0 / Double(tally.count)) }
    print(
      "| \(checkpoint.name) | \(tally.count) | \(rounded(perplexities[1], 3)) | "
        + "\(rounded(perplexities[0], 3)) | \(rounded((tally.error / tally.power).squareRoot(), 4)) | "
        + "\(rounded(100 * Double(tally.sameTokens) / Double(tally.count), 1)) % |"
    )
    #expect(perplexities[0] < 1.05 * perplexities[1])
  }

  private func rounded(_ value: Double, _ digits: Int) -> String {
    String(format: "%.\(digits)f", value)
  }
}
