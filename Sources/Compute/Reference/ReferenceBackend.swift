// The reference for every other backend: slow and obviously right. Weights are decoded to f32, sums
// are in f64, and each op is written like its formula in Ops.swift.

/// A backend that runs every program anywhere, for comparison.
package struct ReferenceBackend: Backend {
  package let device: DeviceDescription
  private let makeStorage: @Sendable (Cache, ExecutableLimits) throws -> any CacheStorage

  /// - Parameters:
  ///   - threads: How many threads of the host its description names; only one computes.
  ///   - memoryByteCount: How much of the machine's memory it may use; nil for all.
  package init(threads: Int = 1, memoryByteCount: UInt64? = nil) {
    self.init(Self.description(threads, memoryByteCount)) { cache, _ in ReferenceCache(cache) }
  }

  /// Creates a backend with the reference's mathematics and other storages, for devices that exist
  /// only in tests.
  package init(
    _ device: DeviceDescription,
    makeStorage: @escaping @Sendable (Cache, ExecutableLimits) throws -> any CacheStorage
  ) {
    self.device = device
    self.makeStorage = makeStorage
  }

  private static func description(_ threads: Int, _ memoryByteCount: UInt64?) -> DeviceDescription {
    var device = DeviceDescription(
      kind: .cpu,
      name: "reference",
      memory: .host(memoryByteCount),
      hostThreads: threads,
      // No row is cheaper beside others, but each step is a message.
      preferredRows: 128,
      rateHint: threads
    )
    device.cacheTypes = [.f32]
    device.sensors = .processor
    return device
  }

  package func compile(
    _ program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    sharing previous: (any Executable)?,
    progress: (Double) -> Void
  ) throws -> any Executable {
    try program.validate()
    let previous = previous as? ReferenceExecutable
    var loaded: [WeightRef: ReferenceWeight] = [:]
    for (index, op) in program.ops.enumerated() {
      for weight in op.weights where loaded[weight] == nil {
        let source = try weights.bytes(of: weight)
        let known = previous?.weights[weight].flatMap { $0.holds(source) ? $0 : nil }
        loaded[weight] = known ?? ReferenceWeight(weight, source)
      }
      progress(Double(index + 1) / Double(program.ops.count))
    }
    return ReferenceExecutable(
      program: program,
      limits: limits,
      weights: loaded,
      storages: try program.caches.map { cache in
        try previous?.storage(of: cache, limits: limits) ?? makeStorage(cache, limits)
      }
    )
  }
}

/// A program with its weights, interpreted op by op.
final class ReferenceExecutable: Executable {
  let program: Program
  let limits: ExecutableLimits
  let weights: [WeightRef: ReferenceWeight]
  let storages: [any CacheStorage]
  /// The values of each buffer: [planes, rows, width].
  var values: [[Float]]
  private(set) var observedInputs: [ObservedInput] = []

  init(
    program: Program,
    limits: ExecutableLimits,
    weights: [WeightRef: ReferenceWeight],
    storages: [any CacheStorage]
  ) {
    self.program = program
    self.limits = limits
    self.weights = weights
    self.storages = storages
    values = Array(repeating: [], count: program.buffers.count)
  }

  // Executables may share decoded weights at any time, so all of them count as this executable's
  // own.
  var footprint: Footprint {
    Footprint(
      mappedWeightBytes: weights.values.reduce(0) { unsafe $0 + $1.source.bytes.count },
      ownedWeightBytes: weights.values.reduce(0) { $0 + $1.decodedByteCount },
      sharedWeightBytes: 0
    )
  }

  func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]] {
    begin(batch, inputs)
    for op in program.ops { try run(op, batch) }
    return program.outputs.map { values[$0.index] }
  }

  private func begin(_ batch: Batch, _ inputs: [[Float]]) {
    observedInputs = []
    for (index, buffer) in program.buffers.enumerated() {
      values[index] = Array(repeating: 0, count: buffer.elementCount(in: batch))
    }
    for (id, input) in zip(program.inputs, inputs) { values[id.index] = input }
  }

  func firstNonFinite(_ batch: Batch, inputs: [[Float]]) -> NonFinite? {
    begin(batch, inputs)
    for (index, op) in program.ops.enumerated() {
      guard (try? run(op, batch)) != nil else { return nil }
      if op.operands.writes.allSatisfy({ areFinite(values[$0.index]) }) { continue }
      for weight in op.weights {
        let rows = program.rowsRead(weight, by: op, in: batch)
        let isFinite = rows.allSatisfy { areFinite(row($0, of: weight)) }
        if !isFinite { return NonFinite(op: index, cause: .weight(weight.name)) }
      }
      return NonFinite(op: index, cause: .result)
    }
    return nil
  }

  private func run(_ op: Op, _ batch: Batch) throws(ComputeError) {
    switch op {
    case .embed(let op): embed(op, batch)
    case .expandStreams(let op): expandStreams(op)
    case .perLayerInputs(let op): perLayerInputs(op, batch)
    case .altupPredict(let op): altupPredict(op)
    case .norm(let op): mapRows(op.input, op.output) { self.normed($0, op.norm) }
    case .laurel(let op): laurel(op)
    case .projectKV(let op): projectKV(op, batch)
    case .appendKV(let op): try appendKV(op, batch)
    case .projectQueries(let op): projectQueries(op, batch)
    case .attend(let op): try attend(op, batch)
    case .matmul(let op): mapRows(Plane(op.input), op.output) { self.product(op.weight, $0) }
    case .addNormed(let op): addNormed(op)
    case .feedForward(let op): mapRows(Plane(op.input), op.output) { self.feedForward(op, $0) }
    case .altupCorrect(let op): altupCorrect(op)
    case .injectPerLayerInput(let op): injectPerLayerInput(op)
    case .keepWanted(let op): keepWanted(op, batch)
    case .mergeStreams(let op): mergeStreams(op)
    case .logits(let op):
      mapRows(Plane(op.input), op.output) { row in
        let logits = self.product(op.weight, row)
        guard let cap = op.softcap else { return logits }
        return logits.map { cap * Float(hyperbolicTangent(Double($0 / cap))) }
      }
    }
  }
}

// MARK: - Weights and rows

extension ReferenceExecutable {
  /// Returns one row of a weight, decoded.
  func row(_ index: Int, of weight: WeightRef, columns: Range<Int>? = nil) -> [Float] {
    loaded(weight).row(index, columns: columns ?? 0..<weight.columns)
  }

  /// Returns all rows of a weight, decoded once.
  func matrix(_ weight: WeightRef) -> [Float] { loaded(weight).matrix }

  private func loaded(_ weight: WeightRef) -> ReferenceWeight {
    guard let known = weights[weight] else {
      preconditionFailure("\(weight.name) was not collected at compile")
    }
    return known
  }

  /// Returns `weight · input`.
  func product(_ weight: WeightRef, _ input: [Float]) -> [Float] {
    if program.observesInputs { observe(weight, input) }
    return combination(weight, input)
  }

  private func observe(_ weight: WeightRef, _ input: [Float]) {
    let index = observedInputs.firstIndex { $0.weight == weight } ?? observedInputs.count
    if index == observedInputs.count {
      let zeros = Array(repeating: Float(0), count: weight.columns)
      observedInputs.append(ObservedInput(weight: weight, sums: zeros, rowCount: 0))
    }
    for (column, value) in input.enumerated() {
      observedInputs[index].sums[column] += value * value
    }
    observedInputs[index].rowCount += 1
  }

  /// Returns `weight · input` where the weight is no matrix of the model's but coefficients of AltUp.
  func combination(_ weight: WeightRef, _ input: [Float]) -> [Float] {
    let matrix = matrix(weight)
    let columns = weight.columns
    return (0..<weight.rows.count).map { row in
      var sum = 0.0
      for column in 0..<columns {
        sum += Double(matrix[row * columns + column]) * Double(input[column])
      }
      return Float(sum)
    }
  }

  func width(_ id: BufferID) -> Int { program[id].width }

  /// The number of rows a buffer holds in this step.
  func rowCount(_ id: BufferID) -> Int {
    values[id.index].count / (program[id].planes * program[id].width)
  }

  func row(_ plane: Plane, _ index: Int) -> [Float] {
    let width = width(plane.buffer)
    let first = (plane.index * rowCount(plane.buffer) + index) * width
    return Array(values[plane.buffer.index][first..<(first + width)])
  }

  func setRow(_ plane: Plane, _ index: Int, _ row: [Float]) {
    let width = width(plane.buffer)
    let first = (plane.index * rowCount(plane.buffer) + index) * width
    values[plane.buffer.index].replaceSubrange(first..<(first + width), with: row)
  }

  func mapRows(_ input: Plane, _ output: BufferID, _ body: ([Float]) -> [Float]) {
    for index in 0..<rowCount(output) { setRow(Plane(output), index, body(row(input, index))) }
  }
}
