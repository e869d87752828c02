// What each op reads and writes: weights, row buffers, a cache. Validation, hazards and the
// description of programs use it.

extension Op {
  /// The weights the op reads.
  package var weights: [WeightRef] {
    let all: [WeightRef?] =
      switch self {
      case .embed(let op): [op.table]
      case .expandStreams(let op): op.projections
      case .perLayerInputs(let op): [op.table, op.projection, op.norm.weight]
      case .altupPredict(let op): [op.router.weight, op.router.norm.weight, op.coefficients]
      case .norm(let op): [op.norm.weight]
      case .laurel(let op): [op.left, op.right, op.norm.weight]
      case .projectKV(let op):
        [op.keyWeight, op.valueWeight, op.keyNorm.weight, op.valueNorm?.weight]
      case .projectQueries(let op): [op.weight, op.norm.weight]
      case .appendKV, .attend, .keepWanted: []
      case .matmul(let op): [op.weight]
      case .addNormed(let op): [op.norm.weight, op.outputScale, op.next?.norm.weight]
      case .feedForward(let op): [op.gate, op.up, op.down]
      case .altupCorrect(let op):
        [op.router.weight, op.router.norm.weight, op.coefficients, op.outputScale]
      case .injectPerLayerInput(let op):
        [op.gate, op.projection, op.norm.weight, op.outputScale]
      case .mergeStreams(let op): op.projections + [op.norm.weight]
      case .logits(let op): [op.weight]
      }
    return all.compactMap(\.self)
  }

  /// The buffers the op reads and those it writes.
  package var operands: (reads: [BufferID], writes: [BufferID]) {
    switch self {
    case .embed(let op): ([], [op.output])
    case .expandStreams(let op): ([op.input], [op.output])
    case .perLayerInputs(let op): ([op.input], [op.output])
    case .altupPredict(let op): ([op.streams], [op.output])
    case .norm(let op): ([op.input.buffer], [op.output])
    case .laurel(let op): ([op.input], [op.output])
    case .projectKV(let op): ([op.input], [op.keys, op.values])
    case .appendKV(let op): ([op.keys, op.values], [])
    case .projectQueries(let op): ([op.input], [op.queries])
    case .attend(let op): ([op.queries], [op.output])
    case .matmul(let op): ([op.input], [op.output])
    case .addNormed(let op):
      (
        [op.input] + op.residuals.map(\.buffer),
        [op.output] + (op.next.map { [$0.output] } ?? [])
      )
    case .feedForward(let op): ([op.input], [op.output])
    case .altupCorrect(let op): ([op.predictions, op.activated], [op.streams, op.scaled])
    case .injectPerLayerInput(let op):
      ([op.input, op.perLayerInputs, op.streams], [op.streams])
    case .keepWanted(let op): ([op.input], [op.output])
    case .mergeStreams(let op): ([op.streams], [op.output])
    case .logits(let op): ([op.input], [op.output])
    }
  }

  /// The cache that the op reads, and the one that it appends to.
  package var cacheOperands: (read: CacheID?, written: CacheID?) {
    switch self {
    case .appendKV(let op): (nil, op.cache)
    case .attend(let op): (op.cache, nil)
    case .embed, .expandStreams, .perLayerInputs, .altupPredict, .norm, .laurel, .projectKV,
      .projectQueries, .matmul, .addNormed, .feedForward, .altupCorrect, .injectPerLayerInput,
      .keepWanted, .mergeStreams, .logits:
      (nil, nil)
    }
  }

  /// The memory that the op reads and writes, for hazards: all planes of its buffers, and its
  /// cache.
  ///
  /// This is for devices that run each op as one call. A backend that knows which planes a call
  /// touches may name fewer.
  package func regions(in program: Program) -> (reads: [Region], writes: [Region]) {
    func planes(_ ids: [BufferID]) -> [Region] {
      ids.flatMap { id in (0..<program[id].planes).map { Region(Plane(id, $0)) } }
    }
    let (reads, writes) = operands
    let (read, written) = cacheOperands
    return (
      planes(reads) + (read.map { [Region($0)] } ?? []),
      planes(writes) + (written.map { [Region($0)] } ?? [])
    )
  }
}
