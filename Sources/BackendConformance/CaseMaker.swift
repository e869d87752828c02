// What the makers of cases share: a program under construction.

internal import Compute

/// Makes the cases of one seed.
struct CaseMaker {
  let seed: UInt64
}

/// A case under construction.
struct CaseBuilder {
  var program = Program(layers: 0..<1)
  let weights: RandomWeights
  let name: String

  init(_ maker: CaseMaker, _ name: String) {
    self.name = name
    weights = RandomWeights(seed: maker.seed, name: name)
  }

  mutating func input(
    _ name: String,
    planes: Int = 1,
    width: Int,
    rows: RowSet = .all
  ) -> BufferID {
    let id = buffer(name, planes: planes, width: width, rows: rows)
    program.inputs.append(id)
    return id
  }

  mutating func buffer(
    _ name: String,
    planes: Int = 1,
    width: Int,
    rows: RowSet = .all
  ) -> BufferID {
    program.add(Buffer(name: name, planes: planes, width: width, rows: rows))
  }

  /// Adds a buffer that is one of the program's outputs.
  mutating func output(
    _ name: String,
    planes: Int = 1,
    width: Int,
    rows: RowSet = .all
  ) -> BufferID {
    let id = buffer(name, planes: planes, width: width, rows: rows)
    program.outputs.append(id)
    return id
  }

  func weight(_ name: String, _ rows: Int, _ columns: Int, _ type: TensorType) -> WeightRef {
    weights.add(name, rows: rows, columns: columns, type: type)
  }

  func norm(
    _ name: String,
    _ width: Int,
    offset: Float = 0,
    type: TensorType = .f32
  ) -> NormParameters {
    NormParameters(weight: weight(name, 1, width, type), gainOffset: offset, epsilon: 1e-6)
  }

  func finish(
    lengths: [Int],
    tolerance: Float,
    inputs: ConformanceCase.InputKind = .real
  ) -> ConformanceCase {
    ConformanceCase(
      name: name,
      program: program,
      weights: weights,
      lengths: lengths,
      tolerance: tolerance,
      inputKind: inputs
    )
  }
}

extension TensorType {
  /// The tolerance of one product whose activations int8 holds exactly.
  var productTolerance: Float { Tolerance.float }

  /// The tolerance where activations are rounded inside the op.
  var roundedTolerance: Float { isQuantised ? Tolerance.int8 : Tolerance.float }
}
