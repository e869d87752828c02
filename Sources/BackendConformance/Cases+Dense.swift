// Cases of lookups, products, norms and the feed-forward.

internal import Compute

extension CaseMaker {
  func embed() -> [ConformanceCase] {
    TensorType.allCases.flatMap { type in
      [1, 3].map { blocks in
        let width = type.isQuantised ? blocks * type.blockLength : blocks * 17
        var builder = CaseBuilder(self, "embed \(type) \(width)")
        let output = builder.output("embedding", width: width)
        let table = builder.weight("table", 40, width, type)
        builder.program.ops = [.embed(Embed(table: table, scale: 1.7, output: output))]
        return builder.finish(lengths: [3, 1, 2], tolerance: Tolerance.exact)
      }
    }
  }

  /// Widths with and without tails, for floats; one, some and many blocks for quantised types.
  private func columns(of type: TensorType) -> [Int] {
    switch type.blockLength {
    case 1: [1, 15, 16, 33, 320]
    case 32: [32, 96, 288, 640]
    default: [256, 768]
    }
  }

  func matmul() -> [ConformanceCase] {
    var cases: [ConformanceCase] = []
    for type in TensorType.allCases {
      for columns in columns(of: type) {
        for rows in [1, 3, 15, 16, 17, 37] {
          var builder = CaseBuilder(self, "matmul \(type) [\(rows), \(columns)]")
          let input = builder.input("input", width: columns)
          let output = builder.output("output", width: rows)
          let weight = builder.weight("weight", rows, columns, type)
          builder.program.ops = [
            .matmul(Matmul(input: input, weight: weight, output: output))
          ]
          // Two, nine and 24 rows a step: pairs, a tail behind a full group, whole groups.
          let length = [2, 9, 24][cases.count % 3]
          cases.append(
            builder.finish(
              lengths: [length],
              tolerance: type.productTolerance,
              inputs: .exactInt8
            )
          )
        }
      }
    }
    return cases + longMatmul() + roundedMatmul()
      + [rewrittenInput(.q8_0), rewrittenInput(.q4_K)]
  }

  /// Steps of so many rows that a backend may take another way, and a step's worth left over.
  private func longMatmul() -> [ConformanceCase] {
    TensorType.allCases.map { type in
      var builder = CaseBuilder(self, "matmul \(type) of many rows")
      let input = builder.input("input", width: 256)
      let output = builder.output("output", width: 37)
      let weight = builder.weight("weight", 37, 256, type)
      builder.program.ops = [.matmul(Matmul(input: input, weight: weight, output: output))]
      var testCase = builder.finish(
        lengths: [300],
        tolerance: type.productTolerance,
        inputs: .exactInt8
      )
      testCase.maxRows = 141
      return testCase
    }
  }

  /// Products of inputs that int8 does not hold exactly, and one input for two products.
  private func roundedMatmul() -> [ConformanceCase] {
    TensorType.allCases.map { type in
      var builder = CaseBuilder(self, "matmul \(type) of real inputs, shared")
      let input = builder.input("input", width: 512)
      let first = builder.output("first", width: 33)
      let second = builder.output("second", width: 20)
      let tall = builder.weight("tall", 33, 512, type)
      let part = builder.weights.add("part", rows: 50, columns: 512, type: type, using: 7..<27)
      builder.program.ops = [
        .matmul(Matmul(input: input, weight: tall, output: first)),
        .matmul(Matmul(input: input, weight: part, output: second)),
      ]
      return builder.finish(lengths: [4, 7], tolerance: type.roundedTolerance)
    }
  }

  /// A buffer is multiplied, changed in place, and multiplied again.
  private func rewrittenInput(_ type: TensorType) -> ConformanceCase {
    var builder = CaseBuilder(self, "matmul \(type), input changed between")
    let input = builder.input("input", width: 256)
    let stream = builder.input("stream", width: 256)
    let outputs = [builder.output("before", width: 20), builder.output("after", width: 20)]
    let weight = builder.weight("weight", 20, 256, type)
    let change = AddNormed(
      input: input,
      norm: builder.norm("gain", 256),
      residuals: [Plane(stream)],
      scale: 1,
      output: stream,
      next: nil
    )
    builder.program.ops = [
      .matmul(Matmul(input: stream, weight: weight, output: outputs[0])),
      .addNormed(change),
      .matmul(Matmul(input: stream, weight: weight, output: outputs[1])),
    ]
    return builder.finish(lengths: [3, 6], tolerance: Tolerance.int8)
  }

  func logits() -> [ConformanceCase] {
    TensorType.allCases.flatMap { type in
      [Float?.none, 3].map { cap in
        var builder = CaseBuilder(self, "logits \(type) cap \(cap.map { "\($0)" } ?? "none")")
        let columns = type.isQuantised ? 256 : 100
        let input = builder.input("input", width: columns, rows: .wanted)
        let output = builder.output("logits", width: 83, rows: .wanted)
        let weight = builder.weight("head", 83, columns, type)
        builder.program.ops = [
          .logits(Logits(input: input, weight: weight, softcap: cap, output: output))
        ]
        return builder.finish(
          lengths: [5, 1, 9],
          tolerance: Tolerance.float,
          inputs: .exactInt8
        )
      }
    }
  }

  func norm() -> [ConformanceCase] {
    var cases: [ConformanceCase] = []
    for width in [1, 2, 15, 16, 17, 64, 640] {
      for (offset, type) in [(Float(0), TensorType.f32), (1, .bf16), (0, .f16)] {
        var builder = CaseBuilder(self, "norm \(width) \(type) + \(offset)")
        let input = builder.input("input", planes: 2, width: width)
        let output = builder.output("output", width: width)
        let norm = builder.norm("gain", width, offset: offset, type: type)
        builder.program.ops = [
          .norm(Norm(input: Plane(input, 1), norm: norm, output: output))
        ]
        cases.append(builder.finish(lengths: [3, 2], tolerance: Tolerance.float))
      }
    }
    var builder = CaseBuilder(self, "norm without gain")
    let input = builder.input("input", width: 50)
    let output = builder.output("output", width: 50)
    let norm = NormParameters(weight: nil, gainOffset: 0, epsilon: 0.5)
    builder.program.ops = [.norm(Norm(input: Plane(input), norm: norm, output: output))]
    cases.append(builder.finish(lengths: [5], tolerance: Tolerance.float))
    return cases
  }

  func addNormed() -> [ConformanceCase] {
    var cases: [ConformanceCase] = []
    for width in [1, 17, 640] {
      for residualCount in 0...2 {
        for hasNext in [false, true] {
          var builder = CaseBuilder(
            self,
            "addNormed \(width), \(residualCount) residuals, next \(hasNext)"
          )
          let input = builder.input("input", width: width)
          let residuals = builder.input("residuals", planes: 3, width: width)
          let output = builder.output("output", width: width)
          let next = hasNext ? builder.output("next", width: width) : nil
          builder.program.ops = [
            .addNormed(
              AddNormed(
                input: input,
                norm: builder.norm("gain", width),
                residuals: (0..<residualCount).map { Plane(residuals, 2 - $0) },
                scale: 0.7,
                output: output,
                next: next.map {
                  .init(norm: builder.norm("nextGain", width, offset: 1), output: $0)
                }
              )
            )
          ]
          cases.append(builder.finish(lengths: [3, 4], tolerance: Tolerance.float))
        }
      }
    }
    return cases + [addNormedInPlace()]
  }

  /// The residual's own buffer takes the result, twice in a row.
  private func addNormedInPlace() -> ConformanceCase {
    var builder = CaseBuilder(self, "addNormed in place")
    let input = builder.input("input", width: 100)
    let stream = builder.input("stream", width: 100)
    builder.program.outputs = [stream]
    for index in 0..<2 {
      builder.program.ops.append(
        .addNormed(
          AddNormed(
            input: input,
            norm: builder.norm("gain\(index)", 100),
            residuals: [Plane(stream)],
            scale: 0.5,
            outputScale: index == 0 ? builder.weight("outputScale", 1, 1, .bf16) : nil,
            output: stream,
            next: nil
          )
        )
      )
    }
    return builder.finish(lengths: [6, 2], tolerance: Tolerance.float)
  }

  func laurel() -> [ConformanceCase] {
    let shapes: [(TensorType, width: Int, rank: Int)] = [
      (.f32, 48, 5), (.bf16, 100, 16), (.f16, 33, 1), (.q4_0, 128, 32), (.q8_0, 96, 64),
      (.q6_K, 256, 256),
    ]
    return shapes.map { type, width, rank in
      var builder = CaseBuilder(self, "laurel \(type) [\(width), \(rank)]")
      let input = builder.input("input", width: width)
      let output = builder.output("output", width: width)
      builder.program.ops = [
        .laurel(
          Laurel(
            input: input,
            left: builder.weight("left", rank, width, type),
            right: builder.weight("right", width, rank, type),
            norm: builder.norm("gain", width),
            output: output
          )
        )
      ]
      return builder.finish(lengths: [4, 5], tolerance: type.roundedTolerance)
    }
  }

  func feedForward() -> [ConformanceCase] {
    var cases: [ConformanceCase] = []
    for type in TensorType.allCases {
      for sparsity in [Float?.none, 1.6448536, 0] {
        let width = type.isQuantised ? 256 : 40
        let hidden = type.isQuantised ? 512 : 75
        cases.append(feedForward(type, width: width, hidden: hidden, sparsity, lengths: [3, 6]))
      }
    }
    // More chunks of 256 columns than lanes share in any backend.
    cases.append(feedForward(.q4_0, width: 160, hidden: 4384, 1.6448536, lengths: [1, 6]))
    // Widths that are no multiple of 64, more rows than are gathered together, and everything kept.
    for sparsity: Float in [1.2, -3] {
      for lengths in [[1], [40]] {
        cases.append(feedForward(.q4_0, width: 96, hidden: 160, sparsity, lengths: lengths))
        cases.append(feedForward(.q8_0, width: 32, hidden: 64, sparsity, lengths: lengths))
      }
    }
    return cases
  }

  private func feedForward(
    _ type: TensorType,
    width: Int,
    hidden: Int,
    _ sparsity: Float?,
    lengths: [Int]
  ) -> ConformanceCase {
    let label = sparsity.map { "sparse \($0)" } ?? "dense"
    var builder = CaseBuilder(
      self,
      "feedForward \(type) [\(hidden), \(width)] \(label), \(lengths) rows"
    )
    let input = builder.input("input", width: width)
    let output = builder.output("output", width: width)
    builder.program.ops = [
      .feedForward(
        FeedForward(
          input: input,
          gate: builder.weight("gate", hidden, width, type),
          up: builder.weight("up", hidden, width, type),
          down: builder.weight("down", width, hidden, type),
          sparsityDeviations: sparsity,
          output: output
        )
      )
    ]
    return builder.finish(lengths: lengths, tolerance: type.roundedTolerance)
  }
}
