// The scalar functions of the reference, in f64. The standard library has no transcendental
// functions; these call the platform's libm.

internal import Glibc

func hyperbolicTangent(_ x: Double) -> Double { Glibc.tanh(x) }

/// `0.5x(1 + tanh(√(2/π)(x + 0.044715x³)))`.
func gelu(_ value: Float) -> Float {
  let x = Double(value)
  let inner = (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)
  return Float(0.5 * x * (1 + Glibc.tanh(inner)))
}

func meanSquare(_ row: [Float]) -> Double {
  row.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(row.count)
}

/// Rotates a head by its position, as `Rope` says.
func rotated(_ head: [Float], position: Int, rope: Rope) -> [Float] {
  let half = head.count / 2
  var result = head
  for (index, frequency) in rope.frequencies(headDim: head.count).enumerated() {
    let angle = Double(position) * Double(rope.positionScale) * frequency
    let (cosine, sine) = (Glibc.cos(angle), Glibc.sin(angle))
    let (first, second) = (Double(head[index]), Double(head[index + half]))
    result[index] = Float(first * cosine - second * sine)
    result[index + half] = Float(second * cosine + first * sine)
  }
  return result
}

func softmax(_ scores: [Double]) -> [Double] {
  let highest = scores.max() ?? 0
  let powers = scores.map { Glibc.exp($0 - highest) }
  let sum = powers.reduce(0, +)
  return powers.map { $0 / sum }
}
