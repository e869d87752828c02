// One call of a kernel, as lowering describes it; how many workgroups it has depends on a step's rows.

internal import Compute

/// A call of a kernel.
struct Dispatch: Sendable {
  /// How many workgroups a call has.
  enum Shape: Sendable {
    /// One for each row, and `y` of them for each.
    case rows(y: Int)
    /// As many as it takes for so many columns, for each row and each of `planes`.
    case columns(Int, planes: Int)
    /// The product of so many rows of weights.
    case product(weightRows: Int, PackedLayout)
    /// As the host writes for each step, at this place.
    case indirect(Place)
  }

  /// The op of the program that it belongs to.
  var op: Int
  var shader: String
  /// Specialization constants after the number of lanes; for products, after those of their shape.
  var constants: [UInt32]
  var bindings: [Binding]
  /// Push constants; the first is the number of rows, which is set in each step.
  var push: [UInt32]
  var rows: RowSet
  /// The rows of the set that it is for; all that there are, for most.
  var rowRange: Range<Int>
  var shape: Shape
  var reads: [Region]
  var writes: [Region]
  /// Multiplications of a row, roughly, by which long steps are divided.
  var rowCost: Int

  /// Returns how many rows it is for in a step.
  func rowCount(_ batch: RowCounts) -> Int {
    max(0, min(batch[rows], rowRange.upperBound) - rowRange.lowerBound)
  }

  /// Returns the bytes of packed weights that it reads for so many rows, if none are passed over.
  func weightByteCount(rows count: Int, _ tuning: Tuning) -> Int {
    guard case .product(_, let layout) = shape, case .buffer(let weights) = bindings[0] else {
      return 0
    }
    let tokens = tuning.product(rows: count, layout).tokens
    return weights.byteCount * ((count + tokens - 1) / tokens)
  }

  /// Returns the kernel for so many rows, and its workgroups; none if they are read from memory.
  func resolve(rows count: Int, _ tuning: Tuning) -> (kernel: Kernel, groups: [Int]?) {
    func kernel(_ threads: Int) -> Kernel {
      Kernel(shader: shader, constants: [UInt32(threads)] + constants)
    }
    switch shape {
    case .rows(let y): return (kernel(tuning.rowThreads), [count, y, 1])
    case .columns(let columns, let planes):
      return (
        kernel(tuning.lanes), [(columns + tuning.lanes - 1) / tuning.lanes, count, planes]
      )
    case .indirect: return (kernel(tuning.rowThreads), nil)
    case .product(let weightRows, let layout):
      let product = tuning.product(rows: count, layout)
      return (
        Kernel(shader: shader, constants: product.constants + constants),
        [
          (count + product.tokens - 1) / product.tokens,
          (weightRows + product.weightRows - 1) / product.weightRows, 1,
        ]
      )
    }
  }
}

/// How many rows of each set a step has.
struct RowCounts: Hashable, Sendable {
  var all: Int
  var wanted: Int

  subscript(_ rows: RowSet) -> Int {
    switch rows {
    case .all: all
    case .wanted: wanted
    }
  }
}

/// What the host writes before a step, apart from the program's inputs.
struct HostWork: Sendable {
  /// Rows of a table, scaled.
  struct Lookup: Sendable {
    var table: WeightRef
    var columns: Range<Int>
    var scale: Float
    var rows: RowSet
    var place: Place
  }

  /// Cosines and sines of the angles of each row: [rows, pairs, 2].
  struct Rotations: Sendable {
    var frequencies: [Double]
    var positionScale: Double
    var rows: RowSet
    var place: Place
  }

  /// The workgroups of attention: rows, groups of heads, segments.
  struct AttentionGroups: Sendable {
    var rows: RowSet
    var rowRange: Range<Int>
    var headGroups: Int
    var window: Int
    var place: Place
  }

  /// Slot, position and number of each row: [maxRows of all, maxRows of the wanted].
  var rows: Place
  var lookups: [Lookup] = []
  var rotations: [Rotations] = []
  var attention: [AttentionGroups] = []
}
