// Small models and machines for the planner's tests.

import Compute
import Coordinator
import Gemma

/// Makes a class of layers; the number tells classes apart.
func layerClass(_ number: Int, readBytes: Int = 0, weightBytes: Int = 0) -> LayerClass {
  LayerClass(
    window: nil,
    ownsKeysAndValues: false,
    hiddenSize: 1,
    heads: 1,
    kvHeads: 1,
    headDim: 1,
    feedForwardSize: number,
    sparsityDeviations: nil,
    weightBytes: weightBytes,
    readBytes: readBytes
  )
}

/// A model whose layers hand on one byte a row; its vocabulary is cut in as many pieces as it has rows.
func modelShape(
  _ layers: [LayerClass],
  exitBytes: Int = 0,
  headBytes: Int = 0,
  vocabularySize: Int = 1
) -> ModelShape {
  ModelShape(
    layers: layers,
    entryBytes: 0,
    exitBytes: exitBytes,
    headBytes: headBytes,
    vocabularySize: vocabularySize,
    firstSkippedLayer: layers.count,
    streamBytes: 1,
    footprint: footprint(
      layers.map(\.weightBytes),
      exitBytes: exitBytes,
      headBytes: headBytes,
      vocabularySize: vocabularySize
    ),
    sharedBytes: Array(repeating: 0, count: layers.count)
  )
}

/// Layers of so many bytes each, without keys and values.
func footprint(
  _ layers: [Int],
  exitBytes: Int = 0,
  headBytes: Int = 0,
  vocabularySize: Int = 1
) -> ModelFootprint {
  var footprint = ModelFootprint(
    layers: layers.enumerated().map { layer, bytes in
      ModelFootprint.Layer(weightBytes: bytes, kvSource: layer, kvWidth: 0, window: nil)
    },
    vocabularySize: vocabularySize
  )
  footprint.exitBytes = exitBytes
  footprint.headBytes = headBytes
  return footprint
}

/// Room for one session and for no rows, so that only weights count.
let noRoom = ExecutableLimits(maxRows: 0, slots: 1, contextTokens: 16)

/// A stage of layers of `modelShape`, of so many; the last has all logits.
func span(_ device: Int, _ layers: Range<Int>, of layerCount: Int) -> StageSpan {
  let line = ModelLine(layerCount: layerCount, vocabularySize: 1)
  return StageSpan(device: device, slice: line.slice(layers: layers))
}

/// The same time for any number of rows.
func constant(_ microseconds: Double) -> CostCurve {
  CostCurve(rows: [1, 128], microseconds: [microseconds, microseconds])
}

/// A device that takes so long for each class of layers.
func deviceProfile(
  _ name: String,
  machine: String = "here",
  memoryBytes: Double = 1e9,
  overhead: CostCurve = .zero,
  head: CostCurve = .zero,
  layers: [LayerClass: CostCurve]
) -> DeviceProfile {
  DeviceProfile(
    name: name,
    kind: .measured,
    derivation: "made up",
    machine: machine,
    memoryBytes: memoryBytes,
    stepOverhead: overhead,
    entry: .zero,
    head: head,
    layers: layers.sorted { $0.key.feedForwardSize < $1.key.feedForwardSize }
      .map { DeviceProfile.LayerCost(layer: $0.key, cost: $0.value) }
  )
}

func machineProfile(_ name: String = "here", bandwidth: Double? = nil) -> MachineProfile {
  MachineProfile(
    name: name,
    kind: .measured,
    derivation: "made up",
    memoryBytes: nil,
    sharedBandwidthBytesPerSecond: bandwidth
  )
}

func linkProfile(
  _ one: String = "here",
  _ other: String = "here",
  latency: Double,
  bytesPerSecond: Double = 1e18
) -> LinkProfile {
  LinkProfile(
    name: "\(one)-\(other)",
    kind: .measured,
    derivation: "made up",
    machines: [one, other],
    latencyMicroseconds: latency,
    bytesPerSecond: bytesPerSecond
  )
}

/// Devices of one machine that are all as fast: each layer takes 100 µs, whatever the rows, unless
/// said otherwise.
func evenCosts(
  layers: Int = 12,
  devices: Int = 2,
  latency: Double,
  cost: CostCurve = constant(100),
  readBytes: Int = 0,
  bandwidth: Double? = nil
) throws -> PipelineCosts {
  let kind = layerClass(1, readBytes: readBytes)
  return try PipelineCosts(
    shape: modelShape(Array(repeating: kind, count: layers)),
    documents: [
      ProfileDocument(
        model: "even",
        machines: [machineProfile(bandwidth: bandwidth)],
        devices: (0..<devices).map { deviceProfile("d\($0)", layers: [kind: cost]) },
        links: [linkProfile(latency: latency)]
      )
    ]
  )
}
