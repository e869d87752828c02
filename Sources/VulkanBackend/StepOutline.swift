// What a step of a model asks of a GPU, counted without running it: for projections of hardware that is not
// there.

package import Compute

/// The dispatches, barriers and products of one step.
package struct StepOutline: Encodable, Sendable {
  /// The rows of the step, and those of which logits are wanted.
  package var rows: Int
  package var wantedRows: Int
  package var dispatches: Int
  package var barriers: Int
  /// Bytes of packed weights that products read, if none are passed over.
  package var weightBytes: Int
  package var products: [Product]

  /// Products that run the same kernel over matrices of the same shape.
  package struct Product: Encodable, Hashable, Sendable {
    package var shader: String
    /// As `ShaderStatistics` names it.
    package var variant: String
    /// Rows and columns of the weight.
    package var weightRows: Int
    package var columns: Int
    /// Bytes of the packed weight.
    package var bytes: Int
    /// Rows of activations that a lane computes at once, and how many such tiles there are.
    package var tokens: Int
    package var tiles: Int
    /// Whether a sparse gate makes most of the weight unnecessary.
    package var isGated: Bool
    package var count = 1
  }
}

extension StepOutline {
  /// Counts steps of a program as a GPU would run them.
  ///
  /// - Parameters:
  ///   - steps: Rows, and wanted rows, of each step.
  ///   - program: The program.
  ///   - weights: Where its weights come from; only small ones are read.
  ///   - limits: The limits of the executable.
  ///   - deviceIndex: A device whose memory takes the places of the weights; it computes nothing.
  /// - Returns: One outline a step.
  /// - Throws: As `Vulkan.init` and `Backend.compile`.
  package static func steps(
    _ steps: [(rows: Int, wantedRows: Int)],
    of program: Program,
    weights: any WeightSource,
    limits: ExecutableLimits,
    deviceIndex: Int?
  ) throws -> [StepOutline] {
    let backend = try Vulkan(index: deviceIndex, of: VulkanInstance.open(), dividesAsOnGPU: true)
    let lowering = try backend.lower(
      program,
      weights: weights,
      into: VulkanWeights(on: backend.opened, sharing: nil, packs: false),
      limits: limits
    )
    return steps.map { step in
      outline(RowCounts(all: step.rows, wanted: step.wantedRows), of: lowering)
    }
  }

  private static func outline(_ counts: RowCounts, of lowering: DispatchLowering) -> StepOutline {
    let tuning = lowering.tuning
    var outline = StepOutline(
      rows: counts.all,
      wantedRows: counts.wanted,
      dispatches: 0,
      barriers: 0,
      weightBytes: 0,
      products: []
    )
    var phases: Set<Int> = []
    for (dispatch, phase) in zip(lowering.dispatches, lowering.phases) {
      let rows = dispatch.rowCount(counts)
      guard rows > 0 else { continue }
      outline.dispatches += 1
      phases.insert(phase)
      outline.weightBytes += dispatch.weightByteCount(rows: rows, tuning)
      if let product = product(dispatch, rows: rows, tuning) { outline.add(product) }
    }
    outline.barriers = max(0, phases.count - 1)
    return outline
  }

  private static func product(_ dispatch: Dispatch, rows: Int, _ tuning: Tuning) -> Product? {
    guard case .product(let weightRows, let layout) = dispatch.shape,
      case .buffer(let weight) = dispatch.bindings[0]
    else { return nil }
    let division = tuning.product(rows: rows, layout)
    let isGated = dispatch.constants[0] == 1
    return Product(
      shader: dispatch.shader,
      variant: ShaderStatistics.variant(division, isGated: isGated),
      weightRows: weightRows,
      columns: dispatch.rowCost / weightRows,
      bytes: weight.byteCount,
      tokens: division.tokens,
      tiles: (rows + division.tokens - 1) / division.tokens,
      isGated: isGated || layout == .byColumns
    )
  }

  private mutating func add(_ product: Product) {
    let same = products.firstIndex { known in
      var known = known
      known.count = 1
      return known == product
    }
    if let same { products[same].count += 1 } else { products.append(product) }
  }
}
