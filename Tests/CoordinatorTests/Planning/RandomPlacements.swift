// Small pipelines drawn at random, and every placement on them, for comparison with what is searched.

import Coordinator
import Gemma
import TestSupport

/// A model of few layers on up to three devices of two machines, all of it drawn; rows of prompts end in any
/// layer.
func randomCosts(
  _ random: inout SeededRandom,
  memoryBytes: ClosedRange<Double> = 6...60
) throws -> PipelineCosts {
  let classes = (1...2).map {
    layerClass($0, readBytes: $0 * 1000, weightBytes: Int.random(in: 1...9, using: &random))
  }
  let machines = ["a", "b"]
  let devices = (0..<Int.random(in: 1...3, using: &random)).map { index in
    deviceProfile(
      "d\(index)",
      machine: machines[Int.random(in: 0...1, using: &random)],
      memoryBytes: Double.random(in: memoryBytes, using: &random),
      overhead: constant(Double.random(in: 0...20, using: &random)),
      head: constant(Double.random(in: 0...90, using: &random)),
      layers: Dictionary(
        uniqueKeysWithValues: classes.map {
          let first = Double.random(in: 1...50, using: &random)
          return ($0, CostCurve(rows: [1, 8], microseconds: [first, first * 3]))
        }
      )
    )
  }
  let layers = (0..<Int.random(in: 1...6, using: &random)).map { _ in
    classes[Int.random(in: 0...1, using: &random)]
  }
  var shape = modelShape(
    layers,
    exitBytes: Int.random(in: 0...100, using: &random),
    headBytes: Int.random(in: 0...2000, using: &random),
    vocabularySize: Int.random(in: 1...3, using: &random)
  )
  shape.firstSkippedLayer = Int.random(in: 1...layers.count, using: &random)
  shape.narrowing = ModelShape.Narrowing(
    layer: shape.firstSkippedLayer - 1,
    share: Double.random(in: 0...1, using: &random)
  )
  return try PipelineCosts(
    shape: shape,
    documents: [
      ProfileDocument(
        model: "random",
        machines: machines.map {
          machineProfile($0, bandwidth: Double.random(in: 1e7...1e9, using: &random))
        },
        devices: devices,
        links: [
          linkProfile("a", "a", latency: Double.random(in: 0...9, using: &random)),
          linkProfile("b", "b", latency: Double.random(in: 0...9, using: &random)),
          linkProfile("a", "b", latency: Double.random(in: 0...90, using: &random)),
        ]
      )
    ]
  )
}

/// All placements there are on some devices.
func everyPlacement(_ costs: PipelineCosts) -> [[StageSpan]] {
  let line = costs.shape.line
  func beginnings(_ first: Int, _ used: Set<Int>) -> [[StageSpan]] {
    if first == line.pieceCount { return [[]] }
    return costs.devices.indices.filter { !used.contains($0) }.flatMap { device in
      (first + 1...line.pieceCount).flatMap { end in
        beginnings(end, used.union([device])).map {
          [StageSpan(device: device, slice: line.slice(pieces: first..<end))] + $0
        }
      }
    }
  }
  return beginnings(0, [])
}
