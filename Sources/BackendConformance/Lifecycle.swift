// What every executable must do besides computing: forget slots, count its memory, refuse batches
// that do not fit, and be unharmed by having refused them.

package import Compute

extension ConformanceCase {
  /// A program with a cache of each kind, that keeps only wanted rows at its end.
  package static func lifecycle(seed: UInt64, headDim: Int = 16) -> ConformanceCase {
    var builder = CaseBuilder(CaseMaker(seed: seed), "lifecycle")
    let (width, keyWidth) = (4 * headDim, 2 * headDim)
    let input = builder.buffer("embedding", width: width)
    let table = builder.weight("table", 40, width, .f32)
    builder.program.ops = [.embed(Embed(table: table, scale: 1, output: input))]
    var current = input
    for (layer, window) in [Int?.none, 4].enumerated() {
      let queries = builder.buffer("queries\(layer)", width: width)
      let keys = builder.buffer("keys\(layer)", width: keyWidth)
      let values = builder.buffer("values\(layer)", width: keyWidth)
      let output = builder.buffer("attended\(layer)", width: width)
      let cache = builder.program.add(
        Cache(layer: layer, kvHeadCount: 2, headDim: headDim, window: window)
      )
      builder.program.ops += [
        .projectKV(
          ProjectKV(
            input: current,
            headDim: headDim,
            rope: Rope(theta: 10_000),
            keyWeight: builder.weight("key\(layer)", keyWidth, width, .f32),
            valueWeight: builder.weight("value\(layer)", keyWidth, width, .f32),
            keyNorm: builder.norm("keyGain\(layer)", headDim),
            valueNorm: nil,
            keys: keys,
            values: values
          )
        ),
        .appendKV(AppendKV(keys: keys, values: values, cache: cache)),
        .projectQueries(
          ProjectQueries(
            input: current,
            headDim: headDim,
            rope: Rope(theta: 10_000),
            weight: builder.weight("query\(layer)", width, width, .f32),
            norm: builder.norm("queryGain\(layer)", headDim),
            queries: queries
          )
        ),
        .attend(
          Attend(queries: queries, cache: cache, headCount: 4, scale: 1, output: output)
        ),
      ]
      current = output
    }
    let kept = builder.output("kept", width: width, rows: .wanted)
    builder.program.ops.append(.keepWanted(KeepWanted(input: current, output: kept)))
    return builder.finish(lengths: [20, 7, 0], tolerance: Tolerance.float)
  }
}

/// Tries what an executable does besides computing, and returns what is wrong, one line each.
package func checkLifecycle(of backend: any Backend, seed: UInt64) throws -> [String] {
  let testCase = ConformanceCase.lifecycle(seed: seed)
  let runner = try backend.prepare(
    testCase.program,
    weights: testCase.weights,
    limits: testCase.limits
  ) { _ in }
  var wrong: [String] = []
  if runner.kvByteCount != 0 { wrong.append("KV bytes before any step") }
  let first = try testCase.run(on: runner, .together, seed: seed)
  let used = runner.kvByteCount
  if used == 0 { wrong.append("no KV bytes with 27 positions held") }

  for (name, rows) in misfits {
    do {
      _ = try runner.run(Batch(rows: rows), inputs: [])
      wrong.append("\(name) was run")
    } catch  where error.code == .batch {
    } catch {
      wrong.append("\(name): code \(error.code), batch expected")
    }
  }
  if runner.kvByteCount != used { wrong.append("a refused batch changed the caches") }

  runner.clear(slot: 0)
  if runner.kvByteCount >= used { wrong.append("clearing a slot frees nothing") }
  runner.clear(slot: 1)
  if runner.kvByteCount != 0 { wrong.append("KV bytes with every slot clear") }
  let second = try testCase.run(on: runner, .mixed, seed: seed)
  if first != second { wrong.append("cleared slots give other results than new ones") }
  return wrong
}

/// Batches for an executable that holds 20 positions in slot 0, 7 in slot 1, none in slot 2, for 24
/// rows a step and 20 positions a session.
private let misfits: [(String, [Row])] = {
  func row(_ slot: Int, _ position: Int, token: Int32 = 1) -> Row {
    Row(slot: slot, position: position, token: token, isWanted: true)
  }
  return [
    ("a position beyond the context", [row(0, 20)]),
    ("a position left out", [row(1, 8)]),
    ("a position repeated", [row(1, 6)]),
    ("a session that does not begin at 0", [row(2, 1)]),
    ("a slot beyond the last", [row(3, 0)]),
    ("a negative slot", [row(-1, 0)]),
    ("a negative position", [row(2, -1)]),
    ("a negative token", [row(2, 0, token: -1)]),
    ("too many rows", (0..<25).map { row(2, $0) }),
    ("a gap within a slot's rows", [row(2, 0), row(2, 2)]),
    ("a slot in two places", [row(2, 0), row(1, 7), row(2, 1)]),
  ]
}()
