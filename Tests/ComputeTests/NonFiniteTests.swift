// What is a finite number, wherever in an array it stands.

import Compute
import Testing

@Suite struct `Finite numbers` {
  @Test func `one value that is none is found at every place of every length`() {
    for count in 0...70 {
      let good = (0..<count).map { Float($0) - 35 }
      #expect(areFinite(good), "\(count)")
      for index in 0..<count {
        for bad in [Float.nan, -.nan, .signalingNaN, .infinity, -.infinity] {
          var values = good
          values[index] = bad
          #expect(!areFinite(values), "\(bad) at \(index) of \(count)")
        }
      }
    }
  }

  @Test func `the largest and the smallest numbers are finite`() {
    let edges: [Float] = [
      .greatestFiniteMagnitude, -.greatestFiniteMagnitude, .leastNonzeroMagnitude,
      -.leastNonzeroMagnitude, .leastNormalMagnitude, 0, -0.0,
    ]
    for edge in edges {
      #expect(areFinite(Array(repeating: edge, count: 33)), "\(edge)")
    }
  }

  @Test func `a cache keeps what its type can hold`() {
    #expect(CacheType.f16.largestMagnitude == halfToFloat(0x7BFF))
    #expect(CacheType.q8_0.largestMagnitude == 127 * halfToFloat(0x7BFF))
    #expect(CacheType.f32.largestMagnitude == .infinity)
  }
}
