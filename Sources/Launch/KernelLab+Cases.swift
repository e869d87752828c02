// The cases that the laboratory measures: the ops and shapes of Gemma 3n E2B, and those of Gemma 4
// E2B and E4B that are different.

internal import Compute

extension KernelCase {
  /// Every op that reads weights, keys or values, with the types in which models have them.
  package static var all: [KernelCase] {
    let body = TensorType.allCases.map { matmul($0, rows: 8192, columns: 2048) }
    let others = [
      matmul(.q4_0, rows: 2048, columns: 8192),
      matmul(.q4_0, rows: 2048, columns: 2048),
      matmul(.q4_0, rows: 512, columns: 2048),
      matmul(.f16, rows: 64, columns: 2048),
      matmul(.f16, rows: 2048, columns: 64),
      matmul(.q6_K, rows: 262_144, columns: 2048),
      matmul(.q8_0, rows: 262_144, columns: 640),
      matmul(.bf16, rows: 8960, columns: 1536),
      matmul(.q4_0, rows: 256, columns: 1536),
      matmul(.q4_0, rows: 1536, columns: 256),
    ]
    let feedForwards = [TensorType.q4_0, .q8_0].flatMap { type in
      [feedForward(type, deviations: nil), feedForward(type, deviations: 1.6448536)]
    }
    return body + others + feedForwards + attention
  }

  /// The layers that see everything, of Gemma 3n E2B, Gemma 4 E2B and Gemma 4 E4B, and the sliding
  /// ones of Gemma 4 E2B.
  private static var attention: [KernelCase] {
    let full = [(2, 256), (1, 512), (2, 512)].flatMap { kvHeads, headDim in
      [512, 2048, 8192].map { attend(kvHeads: kvHeads, headDim: headDim, context: $0) }
    }
    return full + [attend(kvHeads: 1, headDim: 256, context: 2048, window: 512)]
  }

  static func matmul(_ type: TensorType, rows: Int, columns: Int) -> KernelCase {
    KernelCase(
      op: "matmul",
      type: type.rawValue,
      shape: "\(rows)x\(columns)",
      add: { program, copy in
        let input = program.shared("input", width: columns)
        let output = program.shared("output", width: rows)
        let weight = WeightRef(
          name: "weight \(copy)",
          rows: 0..<rows,
          columns: columns,
          type: type
        )
        program.ops.append(.matmul(Matmul(input: input, weight: weight, output: output)))
      },
      bytes: Double(type.byteCount(columns: columns) ?? 0) * Double(rows),
      operations: { 2 * Double($0) * Double(rows) * Double(columns) },
      isFloat: !type.isQuantised
    )
  }

  /// E2B's feed-forward; `CutGate` tells which share of the weights it needs behind a sparse gate.
  static func feedForward(_ type: TensorType, deviations: Float?) -> KernelCase {
    let width = 2048
    let hidden = 8192
    let matrix = Double(type.byteCount(columns: width) ?? 0) * Double(hidden)
    let gate = deviations.map { CutGate(deviations: $0) }
    let up = gate?.shareOfUp(type) ?? 1
    let down = gate?.shareOfDown(type) ?? 1
    // The scales of skipped values are read, but nothing is multiplied by them.
    let multiplied = down < 1 ? gate?.keptShare ?? 1 : 1
    return KernelCase(
      op: deviations == nil ? "feedForward" : "feedForward, cut",
      type: type.rawValue,
      shape: "\(hidden)x\(width)",
      add: { program, copy in
        let input = program.shared("input", width: width)
        let output = program.shared("output", width: width)
        func weight(_ name: String, _ rows: Int, _ columns: Int) -> WeightRef {
          WeightRef(name: "\(name) \(copy)", rows: 0..<rows, columns: columns, type: type)
        }
        program.ops.append(
          .feedForward(
            FeedForward(
              input: input,
              gate: weight("gate", hidden, width),
              up: weight("up", hidden, width),
              down: weight("down", width, hidden),
              sparsityDeviations: deviations,
              output: output
            )
          )
        )
      },
      bytes: matrix * (1 + up + down),
      operations: {
        2 * Double($0) * Double(width) * Double(hidden) * (1 + up + multiplied)
      },
      isFloat: false
    )
  }

  /// Attention of eight query heads over an f16 cache.
  ///
  /// The shape names the heads of queries, those of keys and values, their width, and how many
  /// positions are before the rows.
  static func attend(
    kvHeads: Int,
    headDim: Int,
    context: Int,
    window: Int? = nil
  ) -> KernelCase {
    let heads = 8
    let visible = window.map { min($0, context) } ?? context
    return KernelCase(
      op: "attend",
      type: window == nil ? "f16" : "f16, ring",
      shape: "\(heads)/\(kvHeads)x\(headDim), \(context)",
      add: { program, _ in
        let queries = program.shared("input", width: heads * headDim)
        let keys = program.shared("keys", width: kvHeads * headDim)
        let values = program.shared("values", width: kvHeads * headDim)
        program.inputs = [queries, keys, values]
        let output = program.shared("output", width: heads * headDim)
        let cache = program.add(
          Cache(layer: 0, kvHeadCount: kvHeads, headDim: headDim, window: window)
        )
        program.ops += [
          .appendKV(AppendKV(keys: keys, values: values, cache: cache)),
          .attend(
            Attend(
              queries: queries,
              cache: cache,
              headCount: heads,
              scale: 0.0625,
              output: output
            )
          ),
        ]
      },
      bytes: Double(visible * kvHeads * headDim * 2 * 2),
      // Row r sees the context and the r rows before it, but no more than the window.
      operations: { rows in
        let positions = (1...rows).reduce(0) { $0 + min(window ?? .max, context + $1) }
        return Double(4 * heads * headDim) * Double(positions)
      },
      isFloat: true,
      context: context
    )
  }
}

extension Program {
  /// Returns the buffer with a name, and adds it the first time; `input` is the program's input.
  fileprivate mutating func shared(_ name: String, width: Int) -> BufferID {
    if let known = buffers.firstIndex(where: { $0.name == name }) { return BufferID(index: known) }
    let id = add(Buffer(name: name, width: width, rows: .all))
    if name == "input" { inputs = [id] }
    return id
  }
}
