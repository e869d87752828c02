// What every backend must do so that logits can be cut between stages: some rows of the output matrix
// give what they give within all of it. Bit for bit, always.

package import Compute

/// Cuts an output matrix of every type that the device reads at random, and returns what is wrong, one line each.
///
/// - Parameters:
///   - backend: The backend to try.
///   - seed: What weights, inputs and cuts follow from.
/// - Returns: One line for each cut that gives other logits.
/// - Throws: What the backend throws where it should not.
package func checkSlices(of backend: any Backend, seed: UInt64) throws -> [String] {
  var wrong: [String] = []
  for type in TensorType.allCases where reads(type, backend) {
    for softcap in [Float?.none, 3] {
      let whole = try logits(type, softcap, rows: 0..<vocabularySize, on: backend, seed)
      var generator = Generator(seed: seed, name: "cuts \(type)")
      for _ in 0..<4 {
        let cuts = (0..<2).map { _ in Int.random(in: 1..<vocabularySize, using: &generator) }
        let ends = Set(cuts).sorted() + [vocabularySize]
        for rows in zip([0] + ends, ends).map({ $0..<$1 }) {
          let part = try logits(type, softcap, rows: rows, on: backend, seed)
          let isSame = whole.allSatisfy { key, values in
            values[rows].map(\.bitPattern) == part[key]?.map(\.bitPattern)
          }
          if !isSame {
            wrong.append("\(type), cap \(softcap ?? 0): rows \(rows) of the whole differ")
          }
        }
      }
    }
  }
  return wrong
}

private func reads(_ type: TensorType, _ backend: any Backend) -> Bool {
  backend.device.weightTypes.contains { $0.type == type && $0.support == .supported }
}

// Some tiles and a tail.
private let vocabularySize = 83

private func logits(
  _ type: TensorType,
  _ softcap: Float?,
  rows: Range<Int>,
  on backend: any Backend,
  _ seed: UInt64
) throws -> RowOutputs {
  var builder = CaseBuilder(CaseMaker(seed: seed), "slices \(type)")
  let columns = type.isQuantised ? 256 : 100
  let input = builder.input("input", width: columns, rows: .wanted)
  let output = builder.output("logits", width: rows.count, rows: .wanted)
  let weight = builder.weights.add(
    "head",
    rows: vocabularySize,
    columns: columns,
    type: type,
    using: rows
  )
  builder.program.ops = [
    .logits(Logits(input: input, weight: weight, softcap: softcap, output: output))
  ]
  // One row, a few, and more than a tile of them.
  return try builder.finish(lengths: [1, 5, 17], tolerance: Tolerance.exact)
    .run(on: backend, .together, seed: seed)
}
