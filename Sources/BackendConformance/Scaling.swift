// What every backend must do because activations of real models are large: Gemma 3's exceed the largest f16,
// and those of a router are so small that f16 would lose digits. Bit for bit, always.

package import Compute

/// Multiplies the activations of products by powers of two, and returns what is wrong, one line each.
///
/// All values of a product in f32 scale with them exactly. A sum, a scale or an activation in f16 would not.
///
/// - Parameters:
///   - backend: The backend to try.
///   - seed: What weights and inputs follow from.
/// - Returns: One line for each product whose values are not exactly so many times larger.
/// - Throws: What the backend throws where it should not.
package func checkScaling(of backend: any Backend, seed: UInt64) throws -> [String] {
  var wrong: [String] = []
  for testCase in OpKind.matmul.cases(seed: seed) where testCase.program.ops.count == 1 {
    guard case .supported = backend.support(for: testCase.program.ops[0]) else { continue }
    let plain = try testCase.run(on: backend, .together, seed: seed)
    for exponent in [20, -24] {
      var scaled = testCase
      scaled.inputExponent = exponent
      let outputs = try scaled.run(on: backend, .together, seed: seed)
      let isExact = plain.allSatisfy { key, values in
        outputs[key] == values.map { Float(sign: .plus, exponent: exponent, significand: $0) }
      }
      if !isExact { wrong.append("\(testCase.name): activations times 2^\(exponent)") }
    }
  }
  return wrong
}
