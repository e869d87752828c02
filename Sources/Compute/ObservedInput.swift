// What a step tells of a product's input: how large the values are that a weight's columns are multiplied
// with, which says how much an error in them costs.

/// The squares of a product's input, summed up over the rows of a step.
package struct ObservedInput: Sendable, Hashable {
  /// The weight that the input was multiplied with.
  package var weight: WeightRef
  /// The sum of the squares of each column.
  package var sums: [Float]  // [weight.columns]
  package var rowCount: Int

  package init(weight: WeightRef, sums: [Float], rowCount: Int) {
    self.weight = weight
    self.sums = sums
    self.rowCount = rowCount
  }
}
