// The oracle of every other backend: slow and obviously right. Weights are decoded to f32, sums are
// kept in f64, each op is written as its formula in Ops.swift reads.

/// A backend that runs every program anywhere, for comparison.
package struct ReferenceBackend: Backend {
  package let device = "reference"

  package init() {}

  package func support(for op: Op) -> Support { .supported }

  package func compile(
    _ program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    progress: (Double) -> Void
  ) throws -> any Executable {
    try program.validate()
    var bytes: [WeightRef: WeightBytes] = [:]
    for (index, op) in program.ops.enumerated() {
      for weight in op.weights where bytes[weight] == nil {
        bytes[weight] = try weights.bytes(of: weight)
      }
      progress(Double(index + 1) / Double(program.ops.count))
    }
    return ReferenceExecutable(program: program, limits: limits, weights: bytes)
  }
}

/// A program with its weights, interpreted op by op.
final class ReferenceExecutable: Executable {
  let program: Program
  let limits: ExecutableLimits
  private let weights: [WeightRef: WeightBytes]
  private var decoded: [WeightRef: [Float]] = [:]
  /// By buffer index: [planes, rows, width].
  var values: [[Float]]
  /// By cache index and slot.
  private var caches: [[Int: SlotCache]]

  /// Keys and values of one session: [position, kvHeads × headDim] each.
  struct SlotCache {
    var keys: [[Float]] = []
    var values: [[Float]] = []
  }

  init(program: Program, limits: ExecutableLimits, weights: [WeightRef: WeightBytes]) {
    self.program = program
    self.limits = limits
    self.weights = weights
    values = Array(repeating: [], count: program.buffers.count)
    caches = Array(repeating: [:], count: program.caches.count)
  }

  var footprint: Footprint {
    let mapped = weights.values.reduce(0) { unsafe $0 + $1.bytes.count }
    let rows = zip(program.caches, caches).reduce(0) { sum, pair in
      sum + pair.1.values.reduce(0) { $0 + $1.keys.count } * pair.0.width * 2
    }
    let owned = decoded.values.reduce(0) { $0 + $1.count }
    return Footprint(mappedWeightBytes: mapped, ownedWeightBytes: owned * 4, kvBytes: rows * 4)
  }

  func clear(slot: Int) {
    for index in caches.indices { caches[index][slot] = nil }
  }

  func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]] {
    try validate(batch, inputs: inputs)
    try checkPositions(batch)
    for (index, buffer) in program.buffers.enumerated() {
      values[index] = Array(repeating: 0, count: buffer.elementCount(in: batch))
    }
    for (id, input) in zip(program.inputs, inputs) { values[id.index] = input }
    for op in program.ops { run(op, batch) }
    return program.outputs.map { values[$0.index] }
  }

  /// Checks that each slot's rows continue where its last step ended, before any op has run.
  private func checkPositions(_ batch: Batch) throws(ComputeError) {
    var previousSlot: Int?
    for (index, row) in batch.rows.enumerated() {
      defer { previousSlot = row.slot }
      guard row.slot != previousSlot else { continue }
      for cache in caches {
        let count = cache[row.slot]?.keys.count ?? 0
        guard count == row.position else {
          throw ComputeError(
            .batch,
            "row \(index): slot \(row.slot) holds \(count) positions, the row is at \(row.position)"
          )
        }
      }
    }
  }

  private func run(_ op: Op, _ batch: Batch) {
    switch op {
    case .embed(let op): embed(op, batch)
    case .expandStreams(let op): expandStreams(op)
    case .perLayerInputs(let op): perLayerInputs(op, batch)
    case .altupPredict(let op): altupPredict(op)
    case .norm(let op): mapRows(op.input, op.output) { self.normed($0, op.norm) }
    case .laurel(let op): laurel(op)
    case .projectQKV(let op): projectQKV(op, batch)
    case .appendKV(let op): appendKV(op, batch)
    case .attend(let op): attend(op, batch)
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
    guard let source = weights[weight], let stride = weight.type.byteCount(columns: weight.columns)
    else { preconditionFailure("\(weight.name) was not collected at compile") }
    let columns = columns ?? 0..<weight.columns
    let bytes = unsafe UnsafeRawBufferPointer(
      rebasing: source.bytes[(index * stride)..<((index + 1) * stride)]
    )
    return unsafe Dequantize.values(
      bytes,
      type: weight.type,
      start: columns.lowerBound,
      count: columns.count
    )
  }

  /// Returns all rows of a weight, decoded once.
  func matrix(_ weight: WeightRef) -> [Float] {
    if let known = decoded[weight] { return known }
    var all: [Float] = []
    all.reserveCapacity(weight.rows.count * weight.columns)
    for index in 0..<weight.rows.count { all += row(index, of: weight) }
    decoded[weight] = all
    return all
  }

  /// Returns `weight · input`.
  func product(_ weight: WeightRef, _ input: [Float]) -> [Float] {
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

  /// Returns a slot's cache, or an empty one.
  func cache(_ id: CacheID, slot: Int) -> SlotCache { caches[id.index][slot] ?? SlotCache() }

  func setCache(_ id: CacheID, slot: Int, _ cache: SlotCache) { caches[id.index][slot] = cache }
}
