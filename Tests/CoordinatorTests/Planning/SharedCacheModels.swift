// Models whose last layers own no keys and values, built from numbers, on devices that read all weights in each
// step and compute with them for each row.

import Compute
import Coordinator

/// The layers of a model, by millions of weights.
struct SharedCacheModel: Sendable {
  var layers: [Double]
  /// The first layer that owns no keys and values.
  var firstSharedLayer: Int
  /// The share of the layer before it that makes keys and values.
  var narrowingShare: Double
  var head: Double
  var hiddenSize: Int
  var streamCount: Int
  /// Values of the keys and values that go along with each row, by the layer behind the cut.
  var sharedValues: @Sendable (Int) -> Int

  /// Gemma 4 E2B: every fifth layer sees everything, and layers from 15 on are twice as wide.
  static let gemma4E2B = SharedCacheModel(
    layers: (0..<35).map { layer in
      layer < 15 ? (layer % 5 == 4 ? 43.3 : 36.2) : (layer % 5 == 4 ? 70.0 : 63.7)
    },
    firstSharedLayer: 15,
    // 2 · 512 · 1536 of 43.3 million weights.
    narrowingShare: 0.036,
    head: 403,
    hiddenSize: 1536,
    streamCount: 1,
    sharedValues: { $0 < 14 ? 0 : $0 == 14 ? 512 : 1536 }
  )

  /// Gemma 3n E2B: layers are alike, and each row has four streams.
  static let gemma3nE2B = SharedCacheModel(
    layers: Array(repeating: 63.5, count: 30),
    firstSharedLayer: 20,
    narrowingShare: 0.033,
    head: 537,
    hiddenSize: 2048,
    streamCount: 4,
    sharedValues: { $0 < 19 ? 0 : $0 == 19 ? 1024 : 2048 }
  )

  var shape: ModelShape {
    // Q4_0 has 18 bytes for 32 weights, Q6_K 210 for 256.
    let bytes = { (weights: Double, perWeight: Double) in Int(weights * 1e6 * perWeight) }
    let classes = layers.map { weights in
      let size = bytes(weights, 18.0 / 32)
      return layerClass(Int(weights * 10), readBytes: size, weightBytes: size)
    }
    var shape = modelShape(
      classes,
      headBytes: bytes(head, 210.0 / 256),
      vocabularySize: 262_144
    )
    shape.firstSkippedLayer = firstSharedLayer
    shape.narrowing = ModelShape.Narrowing(layer: firstSharedLayer - 1, share: narrowingShare)
    shape.streamBytes = 4 * hiddenSize * streamCount
    shape.sharedBytes = layers.indices.map { 4 * sharedValues($0) }
    return shape
  }

  /// Costs on equal devices, each a machine of its own: 20 GB/s and 0.3 T operations a second.
  func costs(
    devices: Int = 2,
    latency: Double = 100,
    linkBytesPerSecond: Double = 117.7e6
  ) throws -> PipelineCosts {
    let (bandwidth, operations) = (20e9, 0.3e12)
    func curve(_ weights: Double, bytes: Int) -> CostCurve {
      CostCurve(
        rows: CostCurve.measuredRows,
        microseconds: CostCurve.measuredRows.map { rows in
          (Double(bytes) / bandwidth + 2 * weights * 1e6 * Double(rows) / operations) * 1e6
        }
      )
    }
    let shape = shape
    let names = (0..<devices).map { "d\($0)" }
    let curves = Dictionary(zip(shape.layers, layers)) { first, _ in first }
      .map { ($0, curve($1, bytes: $0.readBytes)) }
    var links = names.map { linkProfile($0, $0, latency: 0) }
    for (index, one) in names.enumerated() {
      for other in names[(index + 1)...] {
        links.append(
          linkProfile(one, other, latency: latency, bytesPerSecond: linkBytesPerSecond)
        )
      }
    }
    return try PipelineCosts(
      shape: shape,
      documents: [
        ProfileDocument(
          model: "shared",
          machines: names.map { machineProfile($0) },
          devices: names.map { name in
            deviceProfile(
              name,
              machine: name,
              memoryBytes: 12e9,
              overhead: constant(50),
              head: curve(head, bytes: shape.headBytes),
              layers: Dictionary(uniqueKeysWithValues: curves)
            )
          },
          links: links
        )
      ]
    )
  }
}

/// Room for eight sessions and for steps of 128 rows.
let usualRoom = ExecutableLimits(maxRows: 128, slots: 8, contextTokens: 4096)
