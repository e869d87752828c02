// Programs as text, for `trestle inspect --program` and for failing tests.

extension Op {
  /// The op's name as the documents spell it.
  package var name: String {
    switch self {
    case .embed: "embed"
    case .expandStreams: "expandStreams"
    case .perLayerInputs: "perLayerInputs"
    case .altupPredict: "altupPredict"
    case .norm: "norm"
    case .laurel: "laurel"
    case .projectKV: "projectKV"
    case .appendKV: "appendKV"
    case .projectQueries: "projectQueries"
    case .attend: "attend"
    case .matmul: "matmul"
    case .addNormed: "addNormed"
    case .feedForward: "feedForward"
    case .altupCorrect: "altupCorrect"
    case .injectPerLayerInput: "injectPerLayerInput"
    case .keepWanted: "keepWanted"
    case .mergeStreams: "mergeStreams"
    case .logits: "logits"
    }
  }

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
      case .addNormed(let op): [op.norm.weight, op.next?.norm.weight]
      case .feedForward(let op): [op.gate, op.up, op.down]
      case .altupCorrect(let op):
        [op.router.weight, op.router.norm.weight, op.coefficients, op.outputScale]
      case .injectPerLayerInput(let op): [op.gate, op.projection, op.norm.weight]
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
}

extension Program: CustomStringConvertible {
  /// One line a buffer, a cache and an op.
  package var description: String {
    var lines = ["program: layers \(layers.lowerBound)..<\(layers.upperBound)"]
    if !vocabulary.isEmpty {
      lines[0] += ", vocabulary \(vocabulary.lowerBound)..<\(vocabulary.upperBound)"
    }
    for (index, buffer) in buffers.enumerated() {
      let planes = buffer.planes > 1 ? "\(buffer.planes), " : ""
      let id = BufferID(index: index)
      let role = inputs.contains(id) ? " input" : ""
      let result = outputs.contains(id) ? " output" : ""
      lines.append(
        "  %\(buffer.name): [\(planes)\(buffer.rows) rows, \(buffer.width)] f32\(role)\(result)"
      )
    }
    for cache in caches {
      let sight = cache.window.map { "window \($0)" } ?? "full"
      lines.append(
        "  cache \(cache.layer): [\(cache.kvHeadCount) heads, positions, \(cache.headDim)], \(sight)"
      )
    }
    for op in ops { lines.append("  " + describe(op)) }
    return lines.joined(separator: "\n")
  }

  /// Returns the op as `%out = name(%in) weights`.
  package func describe(_ op: Op) -> String {
    let (reads, writes) = op.operands
    let names = { (ids: [BufferID]) in ids.map { "%\(self[$0].name)" }.joined(separator: ", ") }
    var line = writes.isEmpty ? "" : "\(names(writes)) = "
    line += "\(op.name)(\(names(reads)))"
    switch op {
    case .appendKV(let op): line += " → cache \(self[op.cache].layer)"
    case .attend(let op): line += " ← cache \(self[op.cache].layer)"
    default: break
    }
    for weight in op.weights {
      line += " \(weight.name)[\(weight.rows.count)×\(weight.columns) \(weight.type.rawValue)]"
    }
    return line
  }
}
