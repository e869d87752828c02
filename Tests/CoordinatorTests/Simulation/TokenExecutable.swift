// The token model as a backend runs it: the real program of a stage, whose ops that make, keep, move
// and choose rows are done, and whose arithmetic is TokenModel's.

import Compute
import Gemma

/// Compiles programs for the token model.
struct TokenBackend: Backend {
  let model: TokenModel
  let device = DeviceDescription(
    kind: .cpu,
    name: "token",
    memory: DeviceMemory(byteCount: 1 << 30, isHostMemory: true, isSharedByWorkers: true),
    hostThreads: 1,
    preferredRows: 1,
    rateHint: 1
  )

  func compile(
    _ program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    sharing previous: (any Executable)?,
    progress: (Double) -> Void
  ) throws -> any Executable {
    let previous = previous as? TokenExecutable
    let caches = program.caches.map { cache in
      previous?.storage(of: cache, limits: limits) as? TokenCache ?? TokenCache(cache, limits)
    }
    return TokenExecutable(model, program, limits, caches)
  }
}

/// What a test has an executable do that a sound device would not.
struct TokenFaults {
  /// Why the next step does not run; nil if it does.
  var failsNext: ComputeError.Code?
  /// The next step's first slot becomes no finite number, as soon as somebody sees its rows.
  var spoilsNext = false
  /// A token whose rows, and whatever attends to them, become no finite numbers.
  var poison: Int32?
}

/// One stage of the token model.
final class TokenExecutable: Executable {
  let program: Program
  let limits: ExecutableLimits
  let footprint = Footprint(mappedWeightBytes: 0, ownedWeightBytes: 0, sharedWeightBytes: 0)
  var faults = TokenFaults()
  private let model: TokenModel
  private let caches: [TokenCache]

  init(
    _ model: TokenModel,
    _ program: Program,
    _ limits: ExecutableLimits,
    _ caches: [TokenCache]
  ) {
    self.model = model
    self.program = program
    self.limits = limits
    self.caches = caches
  }

  var storages: [any CacheStorage] { caches }

  func run(_ batch: Batch, inputs: [[Float]]) throws(ComputeError) -> [[Float]] {
    if let code = faults.failsNext {
      faults.failsNext = nil
      throw ComputeError(code, "as the test wants")
    }
    var pass = TokenPass(batch, program)
    if faults.spoilsNext, let first = batch.rows.first?.slot {
      pass.spoiled = Set(batch.rows.indices.filter { batch.rows[$0].slot == first })
    }
    for (id, values) in zip(program.inputs, inputs) { try pass.take(values, as: id) }
    for op in program.ops {
      switch op {
      case .embed: pass.states = batch.rows.map { TokenModel.embedded($0.token) }
      case .projectKV(let op):
        let rows = pass.rows(width: program[op.keys].width) { TokenModel.key($0) }
        pass.shared[op.keys] = rows
        pass.shared[op.values] = rows
      case .appendKV(let op): try append(pass, op)
      case .attend(let op): try attend(&pass, caches[op.cache.index])
      case .keepWanted: pass.keepWanted()
      case .logits(let op): pass.shared[op.output] = logits(pass, op.weight.rows)
      default: break  // Arithmetic within a row: the state stands for its result.
      }
    }
    var outputs: [[Float]] = []
    for id in program.outputs {
      outputs.append(pass.shared[id] ?? pass.rows(width: program[id].width) { $0 })
      spoil(&outputs[outputs.count - 1], of: program[id], pass)
    }
    return outputs
  }

  func firstNonFinite(_ batch: Batch, inputs: [[Float]]) -> NonFinite? {
    program.ops.firstIndex { op in
      if case .attend = op { true } else { false }
    }.map { NonFinite(op: $0, cause: .result) }
  }

  private func append(_ pass: TokenPass, _ op: AppendKV) throws(ComputeError) {
    guard let keys = pass.shared[op.keys], keys == pass.shared[op.values] else {
      throw ComputeError(.batch, "keys and values of different rows")
    }
    let width = program[op.keys].width
    for (index, row) in pass.batch.rows.enumerated() {
      guard let kept = TokenRow(keys[(index * width)..<((index + 1) * width)]),
        kept.position == row.position, kept.token == row.token
      else { throw ComputeError(.batch, "row \(index): keys of another row") }
      caches[op.cache.index].put(kept, at: row.position, slot: row.slot)
    }
  }

  /// Mixes each row's state with all keys that it sees.
  private func attend(_ pass: inout TokenPass, _ cache: TokenCache) throws(ComputeError) {
    for (index, place) in pass.places.enumerated() {
      let row = pass.batch.rows[place]
      var sum: UInt32 = 0
      for position in cache.shape.seen(from: row.position).lowerBound...row.position {
        let kept = try cache.row(at: position, slot: row.slot)
        if kept.token == faults.poison { pass.spoiled.insert(place) }
        sum = sum &+ TokenModel.weight(kept.state, at: position)
      }
      pass.states[index] = TokenModel.mix(pass.states[index], sum)
    }
  }

  private func logits(_ pass: TokenPass, _ rows: Range<Int>) -> [Float] {
    zip(pass.states, pass.places).flatMap { state, place in
      model.logits(state, position: pass.batch.rows[place].position, rows: rows)
    }
  }

  /// Makes the spoiled rows of an output no finite numbers.
  private func spoil(_ values: inout [Float], of buffer: Buffer, _ pass: TokenPass) {
    guard !pass.spoiled.isEmpty else { return }
    let places = buffer.rows == .all ? Array(pass.batch.rows.indices) : pass.batch.wantedRows
    for (index, place) in places.enumerated() where pass.spoiled.contains(place) {
      values[index * buffer.width] = .nan
      faults.spoilsNext = false
    }
  }
}

/// One step on its way through a stage.
struct TokenPass {
  let batch: Batch
  private let program: Program
  /// The rows of the batch that are still computed.
  private(set) var places: [Int]
  /// Of these rows.
  var states: [UInt32] = []
  /// What lies in buffers for somebody else: keys and values, logits.
  var shared: [BufferID: [Float]] = [:]
  /// Rows that are to become no finite numbers.
  var spoiled: Set<Int> = []

  init(_ batch: Batch, _ program: Program) {
    self.batch = batch
    self.program = program
    let isNarrow = program.inputs.first.map { program[$0].rows == .wanted } ?? false
    places = isNarrow ? batch.wantedRows : Array(batch.rows.indices)
  }

  /// Takes an input of the stage: the hidden rows first, then keys and values of layers before.
  mutating func take(_ values: [Float], as id: BufferID) throws(ComputeError) {
    guard id == program.inputs.first else {
      shared[id] = values
      return
    }
    let width = program[id].width
    for (index, place) in places.enumerated() {
      let row = batch.rows[place]
      guard let hidden = TokenRow(values[(index * width)..<((index + 1) * width)]),
        hidden.token == row.token, hidden.position == row.position
      else { throw ComputeError(.batch, "row \(place): the hidden row of another token") }
      states.append(hidden.state)
    }
  }

  /// Returns what the rows that are computed hold in a buffer.
  func rows(width: Int, _ make: (UInt32) -> UInt32) -> [Float] {
    zip(states, places).flatMap { state, place in
      let row = batch.rows[place]
      return TokenRow(state: make(state), token: row.token, position: row.position)
        .values(width: width)
    }
  }

  /// Ends the rows whose output nobody wants.
  mutating func keepWanted() {
    guard places.count > batch.wantedRows.count else { return }
    states = batch.wantedRows.map { states[$0] }
    places = batch.wantedRows
  }
}
