// Which products are for the array, and in which shapes it does them.

internal import CPUBackend
internal import Compute
internal import NPUArray

/// The shapes of products with some settings.
struct ProductShapes: Sendable {
  let settings: NPUSettings
  /// The fewest rows of a step whose products the array does.
  let leastRows: Int

  /// Shapes are made for multiples of so many rows; the rows behind a step's are computed from whatever is there.
  private static let rowUnit = 16

  init(_ settings: NPUSettings, threads: Int) {
    self.settings = settings
    leastRows = settings.leastRows ?? NPUSettings.leastRows(threads: threads)
  }

  func takes(outputs: Int, depth: Int) -> Bool {
    let (count, overflow) = outputs.multipliedReportingOverflow(by: depth)
    return !overflow && count >= settings.leastElements
      && (try? ProductShape(rows: 1, depth: depth, columns: outputs)) != nil
  }

  func layout(depth: Int, outputs: Int) throws(ComputeError) -> ProductLayout {
    let shape = try shape(rows: 1, depth: depth, outputs: outputs)
    return ProductLayout(
      side: shape.side,
      passes: shape.passes,
      partSteps: shape.stepsOfParts,
      outputs: shape.pitchOfC
    )
  }

  func shape(of product: DeviceProduct) throws(ComputeError) -> ProductShape {
    try shape(
      rows: product.rowCount,
      depth: product.depth,
      outputs: product.outputs,
      sumRows: product.sumRows
    )
  }

  private func shape(
    rows: Int,
    depth: Int,
    outputs: Int,
    sumRows: Int? = nil
  ) throws(ComputeError) -> ProductShape {
    do throws(NPUError) {
      return try ProductShape(
        rows: (rows + Self.rowUnit - 1) / Self.rowUnit * Self.rowUnit,
        depth: depth,
        columns: outputs,
        side: settings.side,
        rowsOfC: sumRows
      )
    } catch {
      throw ComputeError(.unsupported, "npu: \(error)")
    }
  }

  /// The largest value that shapes of up to so many rows have.
  func most(_ rows: Int, _ value: (ProductShape) -> Int) throws(ComputeError) -> Int {
    var most = 0
    for rows in stride(from: 1, through: max(rows, 1) + Self.rowUnit - 1, by: Self.rowUnit) {
      most = max(most, value(try shape(rows: rows, depth: 1, outputs: 1)))
    }
    return most
  }
}

/// What multiplies in the array's shapes, or takes its time.
protocol ArrayProducts: ProductDevice {
  var shapes: ProductShapes { get }
}

extension ArrayProducts {
  var leastRows: Int { shapes.leastRows }

  func takes(outputs: Int, depth: Int) -> Bool { shapes.takes(outputs: outputs, depth: depth) }

  func layout(depth: Int, outputs: Int) throws(ComputeError) -> ProductLayout {
    try shapes.layout(depth: depth, outputs: outputs)
  }

  func inputRows(for rows: Int) throws(ComputeError) -> Int { try shapes.most(rows) { $0.rowsOfA } }

  func sumRows(for rows: Int) throws(ComputeError) -> Int { try shapes.most(rows) { $0.rowsOfC } }
}
