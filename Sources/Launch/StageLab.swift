// Measures the cost of layers on a device of this machine. It runs programs of one layer as a
// worker does, for several numbers of rows.

internal import Compute
internal import Coordinator
internal import Gemma
internal import Glibc
internal import Wire
internal import Worker

/// Measures the layers of one model on one backend.
final class StageLab {
  private let checkpoint: Checkpoint
  private let shape: ModelShape
  private let backend: any Backend
  private let progress: (Double) -> Void
  /// What the backend cannot run; that is not measured.
  private let obstacles: DeviceObstacles
  /// What else a step of the whole model reads: read between two measurements, so that a layer's
  /// weights come from where they would come from.
  private let otherBytes: [UInt8]

  /// Twice the last-level cache of the machines that this runs on (32 MiB); more would evict
  /// nothing more.
  private static let maxOtherByteCount = 64 << 20
  /// Up to this many rows, a micro-batch is measured as decoding streams, one for each slot.
  ///
  /// With more it is measured as a chunk of a prompt.
  private static let decodeSlots = 8
  /// The positions that each stream has before it is measured; `trestle bench` decodes after as
  /// many.
  private static let warmPositions = 16
  /// The most rows of the last layer with its logits: a micro-batch has at most 16 rows of 262,144
  /// logits.
  private static let maxHeadRows = 16

  init(
    _ checkpoint: Checkpoint,
    _ shape: ModelShape,
    backend: any Backend,
    progress: @escaping (Double) -> Void
  ) throws {
    obstacles = DeviceObstacles(try checkpoint.config.ops(weights: checkpoint)) {
      backend.support(for: $0)
    }
    self.checkpoint = checkpoint
    self.shape = shape
    self.backend = backend
    self.progress = progress
    let byteCount = min(Self.maxOtherByteCount, Int(checkpoint.decodeCost.total))
    otherBytes = Array(repeating: 1, count: byteCount)
  }

  /// Measures all classes of layers, both ends of the model and the fixed cost of a step.
  func measure(
    name: String,
    kind: NumberKind,
    machine: String,
    memoryBytes: Double
  ) throws -> DeviceProfile {
    let layerCount = shape.layers.count
    let samples = Dictionary(grouping: (0..<layerCount).filter(canRun)) { shape.layers[$0] }
      .compactMapValues { layers in
        layers.first { $0 > 0 && $0 < layerCount - 1 } ?? layers.first
      }
    let rows = CostCurve.measuredRows
    let total = Double(samples.count + 4)
    var done = 0.0
    func advance() {
      done += 1
      progress(done / total)
    }
    let overhead = try time(emptyProgram(), rows: rows)
    advance()
    var costs: [LayerClass: CostCurve] = [:]
    for (layer, index) in samples.sorted(by: { $0.value < $1.value }) {
      costs[layer] = try time(index, rows: rows).subtracting(overhead)
      advance()
    }
    // A layer at an end costs as much as its class plus the end. If the class has no other layer,
    // its cost includes the end.
    func end(_ layer: Int) throws -> CostCurve {
      guard canRun(layer), samples[shape.layers[layer]] != layer,
        let cost = costs[shape.layers[layer]]
      else { return .zero }
      return try time(layer, rows: rows).subtracting(overhead).subtracting(cost)
    }
    let entry = try end(0)
    advance()
    let head = try end(layerCount - 1)
    advance()
    let narrowing = try narrowing(rows: rows, overhead)
    advance()
    var profile = DeviceProfile(
      name: name,
      kind: kind,
      derivation: "one-layer programs timed on this machine, medians",
      machine: machine,
      memoryBytes: memoryBytes,
      stepOverhead: overhead,
      entry: entry,
      head: head,
      layers: samples.sorted { $0.value < $1.value }.compactMap { layer, _ in
        costs[layer].map { DeviceProfile.LayerCost(layer: layer, cost: $0) }
      }
    )
    profile.narrowing = narrowing
    return profile
  }

  /// Returns what the rows of a prompt cost in the layer where they end; nil if there is none, or the
  /// backend cannot run it.
  private func narrowing(rows: [Int], _ overhead: CostCurve) throws -> CostCurve? {
    guard let layer = checkpoint.config.narrowingLayer, canRun(layer) else { return nil }
    let slice = ModelSlice(layers: layer..<(layer + 1))
    let program = try checkpoint.config.lower(slice, weights: checkpoint)
    return try time(program, rows: rows, wantsAll: false).subtracting(overhead).beyondFirst()
      .rising()
  }

  /// Whether the backend can run a layer.
  private func canRun(_ layer: Int) -> Bool {
    obstacles.obstacle(to: ModelSlice(layers: layer..<(layer + 1))) == nil
  }

  private func time(_ layer: Int, rows: [Int]) throws -> CostCurve {
    // The last layer with all logits, where the backend can compute them.
    let whole = shape.line.slice(layers: layer..<(layer + 1))
    let canRunWhole = obstacles.obstacle(to: whole) == nil
    let slice = canRunWhole ? whole : ModelSlice(layers: whole.layers)
    return try time(checkpoint.config.lower(slice, weights: checkpoint), rows: rows)
  }

  /// Returns a program that takes activations, does almost nothing, and returns them.
  ///
  /// So its time is the fixed cost of a step.
  private func emptyProgram() -> Program {
    let config = checkpoint.config
    var program = Program(layers: 0..<1)
    let streams = program.add(
      Buffer(
        name: "streams",
        planes: config.streamCount,
        width: config.hiddenSize,
        rows: .all
      )
    )
    let normed = program.add(Buffer(name: "normed", width: config.hiddenSize, rows: .all))
    let norm = NormParameters(weight: nil, gainOffset: 0, epsilon: config.normEpsilon)
    program.ops = [.norm(Norm(input: Plane(streams), norm: norm, output: normed))]
    program.inputs = [streams]
    program.outputs = [streams]
    return program
  }

  // MARK: One program

  /// Returns how long a program takes; of a step's rows an output is wanted of all, or of the last one
  /// alone, as in a prompt.
  private func time(
    _ program: Program,
    rows: [Int],
    wantsAll: Bool = true
  ) throws -> CostCurve {
    let isLast = program.ops.contains {
      if case .logits = $0 { true } else { false }
    }
    let rows = isLast ? rows.filter { $0 <= Self.maxHeadRows } : rows
    let most = max(rows.max() ?? 1, Self.decodeSlots * Self.warmPositions)
    let limits = ExecutableLimits(
      maxRows: most,
      slots: Self.decodeSlots + 1,
      contextTokens: max(most, 512)
    )
    let runner = try backend.prepare(program, weights: checkpoint, limits: limits) { _ in }
    let stage = Stage(
      epoch: 1,
      runner: runner,
      vocabularySize: checkpoint.config.vocabularySize
    )
    try warm(stage)
    var position = Self.warmPositions
    var curve: [Int: Double] = [:]
    // The largest number of streams comes first, because streams that are no longer used may stay
    // at earlier positions.
    let decodingRows = wantsAll ? Self.decodeSlots : 0
    for count in rows.filter({ $0 <= decodingRows }).reversed() {
      curve[count] = try median(of: stage) {
        defer { position += 1 }
        return decoding(count, at: position)
      }
    }
    for count in rows where count > decodingRows {
      let time = try median(of: stage) { chunk(count, wantsAll: wantsAll) }
      curve[count] = time
      // On slow devices larger chunks would take minutes; the curve is extrapolated beyond this
      // one.
      if time > Self.longEnough { break }
    }
    let counts = curve.keys.sorted()
    return CostCurve(rows: counts, microseconds: counts.compactMap { curve[$0] }).rising()
  }

  /// A quarter of a second, in microseconds: chunks above this are not measured.
  private static let longEnough = 250_000.0

  /// Fills the KV caches of the streams.
  private func warm(_ stage: Stage) throws {
    let rows = (0..<Self.decodeSlots).flatMap { slot in
      (0..<Self.warmPositions).map { row(slot, $0, .none) }
    }
    let step = step(rows, cleared: [])
    _ = try stage.run(step, payloads: payloads(stage, step))
  }

  private func decoding(_ count: Int, at position: Int) -> Step {
    step((0..<count).map { row($0, position, .sample(Sampling.greedy)) }, cleared: [])
  }

  /// Returns a prompt's first chunk, in the slot after those of the streams.
  ///
  /// Where every row is wanted, the layer computes all of them.
  private func chunk(_ count: Int, wantsAll: Bool) -> Step {
    let rows = (0..<count).map {
      row(
        Self.decodeSlots,
        $0,
        wantsAll || $0 == count - 1 ? .sample(Sampling.greedy) : .none
      )
    }
    return step(rows, cleared: [Self.decodeSlots])
  }

  private func row(_ slot: Int, _ position: Int, _ output: RowOutput) -> StepRow {
    let token = Int32((slot * 7919 + position * 104_729) % checkpoint.config.vocabularySize)
    return StepRow(slot: slot, position: position, token: token, output: output)
  }

  private func step(_ rows: [StepRow], cleared: [Int]) -> Step {
    Step(epoch: 1, sequence: 1, cleared: cleared, rows: rows, stageMicroseconds: [])
  }

  /// Returns the median of several runs in microseconds: 15 of a short step, 3 of a long one, 2 of
  /// a very long one, whose time varies less.
  private func median(of stage: Stage, _ next: () -> Step) throws -> Double {
    var times: [Double] = []
    var total = 0.0
    var inputs: [[Float]] = []
    while times.count < 2 || (times.count < 3 && total < 100_000)
      || (times.count < 15 && total < 15_000)
    {
      let step = next()
      if inputs.isEmpty { inputs = payloads(stage, step) }
      readOtherBytes()
      let began = ContinuousClock.now
      _ = try stage.run(step, payloads: inputs)
      let time = (ContinuousClock.now - began) / .microseconds(1)
      times.append(time)
      total += time
    }
    return times.sorted()[(times.count - 1) / 2]
  }

  private func payloads(_ stage: Stage, _ step: Step) -> [[Float]] {
    let batch = step.batch
    let program = stage.runner.program
    // The values have a spread, because the threshold of a sparse gate depends on it. Otherwise
    // they do not matter.
    return program.inputs.map { id in
      (0..<program[id].elementCount(in: batch)).map { index in
        Float((index &* 2_654_435_761) >> 7 & 0x3FF) / 512 - 1
      }
    }
  }

  private func readOtherBytes() {
    // A search for a byte that does not occur reads at the speed of memory, in debug builds too.
    let found = unsafe otherBytes.withUnsafeBytes { bytes in
      unsafe bytes.baseAddress.map { unsafe memchr($0, 2, bytes.count) != nil } ?? false
    }
    precondition(!found, "the bytes between two measurements are all 1")
  }
}
