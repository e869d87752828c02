// Cases of attention: projections, rotation, caches, rings.

internal import Compute

extension CaseMaker {
  private static let projectionTypes = [TensorType.f32, .bf16, .q4_0, .q5_0, .q8_0, .q4_K, .q6_K]
  private static let headDims = [2, 20, 64]

  func projectKV() -> [ConformanceCase] {
    var cases: [ConformanceCase] = []
    for type in Self.projectionTypes {
      for headDim in Self.headDims {
        for rows in [RowSet.all, .wanted] {
          for normsValues in [false, true] {
            cases.append(projectKV(type, headDim: headDim, rows, normsValues: normsValues))
          }
        }
      }
      for normsValues in [false, true] {
        cases.append(
          projectKV(type, headDim: 20, .all, normsValues: normsValues, valuesAreKeys: true)
        )
      }
    }
    return cases
  }

  private func projectKV(
    _ type: TensorType,
    headDim: Int,
    _ rows: RowSet,
    normsValues: Bool,
    valuesAreKeys: Bool = false
  ) -> ConformanceCase {
    let width = type.isQuantised ? 256 : 40
    let values =
      (normsValues ? "normed" : "plain") + (valuesAreKeys ? " values of the keys" : " values")
    var builder = CaseBuilder(
      self,
      "projectKV \(type) head \(headDim), \(values), \(rows) rows"
    )
    let plain = NormParameters(weight: nil, gainOffset: 0, epsilon: 1e-6)
    builder.program.ops = [
      .projectKV(
        ProjectKV(
          input: builder.input("input", width: width, rows: rows),
          headDim: headDim,
          rope: Rope(theta: 10_000, positionScale: normsValues ? 1 : 0.125),
          keyWeight: builder.weight("key", 2 * headDim, width, type),
          valueWeight: valuesAreKeys ? nil : builder.weight("value", 2 * headDim, width, type),
          keyNorm: builder.norm("keyGain", headDim, offset: 1),
          valueNorm: normsValues ? plain : nil,
          keys: builder.output("keys", width: 2 * headDim, rows: rows),
          values: builder.output("values", width: 2 * headDim, rows: rows)
        )
      )
    ]
    return builder.finish(lengths: [4, 30], tolerance: Tolerance.float, inputs: .exactInt8)
  }

  func projectQueries() -> [ConformanceCase] {
    var cases: [ConformanceCase] = []
    for type in Self.projectionTypes {
      for headDim in Self.headDims {
        for rows in [RowSet.all, .wanted] {
          cases.append(projectQueries(type, headDim: headDim, rows))
        }
      }
      for pairs in [0, 3, 10] {
        cases.append(projectQueries(type, headDim: 20, .all, rotatedPairs: pairs))
      }
    }
    return cases
  }

  private func projectQueries(
    _ type: TensorType,
    headDim: Int,
    _ rows: RowSet,
    rotatedPairs: Int? = nil
  ) -> ConformanceCase {
    let width = type.isQuantised ? 256 : 40
    let pairs = rotatedPairs.map { ", \($0) pairs rotated" } ?? ""
    var builder = CaseBuilder(self, "projectQueries \(type) head \(headDim), \(rows) rows\(pairs)")
    builder.program.ops = [
      .projectQueries(
        ProjectQueries(
          input: builder.input("input", width: width, rows: rows),
          headDim: headDim,
          rope: Rope(
            theta: 10_000,
            positionScale: rows == .all ? 1 : 0.125,
            rotatedPairs: rotatedPairs
          ),
          weight: builder.weight("query", 4 * headDim, width, type),
          norm: builder.norm("queryGain", headDim),
          queries: builder.output("queries", width: 4 * headDim, rows: rows)
        )
      )
    ]
    return builder.finish(lengths: [4, 30], tolerance: Tolerance.float, inputs: .exactInt8)
  }

  func attend() -> [ConformanceCase] {
    struct Shape {
      var heads: Int
      var kvHeads: Int
      var headDim: Int
      var window: Int?
      var lengths: [Int]
    }
    let shapes = [
      Shape(heads: 1, kvHeads: 1, headDim: 2, window: nil, lengths: [1]),
      Shape(heads: 4, kvHeads: 1, headDim: 256, window: nil, lengths: [40, 3]),
      Shape(heads: 8, kvHeads: 2, headDim: 64, window: nil, lengths: [17, 0, 33]),
      Shape(heads: 6, kvHeads: 2, headDim: 20, window: nil, lengths: [16]),
      Shape(heads: 3, kvHeads: 3, headDim: 34, window: 5, lengths: [31, 7]),
      Shape(heads: 7, kvHeads: 1, headDim: 16, window: 16, lengths: [90, 12, 45]),
      // Wide heads of Gemma 4, more of them than one tile has, and rows beyond one group.
      Shape(heads: 8, kvHeads: 1, headDim: 512, window: nil, lengths: [40, 1, 2]),
      Shape(heads: 13, kvHeads: 1, headDim: 40, window: 20, lengths: [70, 9]),
      // The ring wraps several times: window + maxRows - 1 = 24 positions.
      Shape(heads: 2, kvHeads: 1, headDim: 18, window: 1, lengths: [100]),
      Shape(heads: 4, kvHeads: 2, headDim: 64, window: 15, lengths: [130, 5]),
      // A window as long as the context, and a longer one.
      Shape(heads: 2, kvHeads: 2, headDim: 32, window: 40, lengths: [40]),
      Shape(heads: 2, kvHeads: 2, headDim: 32, window: 4000, lengths: [40]),
    ]
    return shapes.flatMap { shape in
      [RowSet.all, .wanted].map { rows in
        let window = shape.window.map { "window \($0)" } ?? "full"
        var builder = CaseBuilder(
          self,
          "attend \(shape.heads)/\(shape.kvHeads) × \(shape.headDim) \(window), \(rows) rows"
        )
        let width = shape.kvHeads * shape.headDim
        let queries = builder.input("queries", width: shape.heads * shape.headDim, rows: rows)
        let keys = builder.input("keys", width: width)
        let values = builder.input("values", width: width)
        let output = builder.output("output", width: shape.heads * shape.headDim, rows: rows)
        let cache = builder.program.add(
          Cache(
            layer: 0,
            kvHeadCount: shape.kvHeads,
            headDim: shape.headDim,
            window: shape.window
          )
        )
        builder.program.ops = [
          .appendKV(AppendKV(keys: keys, values: values, cache: cache)),
          .attend(
            Attend(
              queries: queries,
              cache: cache,
              headCount: shape.heads,
              scale: 0.6,
              output: output
            )
          ),
        ]
        return builder.finish(lengths: shape.lengths, tolerance: Tolerance.float)
      }
    }
  }
}
