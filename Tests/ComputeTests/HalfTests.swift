// The rounding of values to f16.

import Compute
import Testing

@Suite struct `Rounding to f16` {
  @Test func `all values of f16 and those halfway between round to the nearest, ties to even`() {
    for bits in UInt16.min...UInt16.max {
      let value = halfToFloat(bits)
      guard !value.isNaN else {
        #expect(halfToFloat(floatToHalf(value)).isNaN)
        continue
      }
      #expect(floatToHalf(value) == bits, "\(value)")
      #expect(floatToHalf(value.nextUp) == Float16(value.nextUp).bitPattern, "\(value.nextUp)")
      guard bits & 0x7FFF < 0x7BFF else { continue }
      let middle = (value + halfToFloat(bits + 1)) / 2
      for near in [middle, middle.nextUp, middle.nextDown] {
        #expect(floatToHalf(near) == Float16(near).bitPattern, "\(near)")
      }
    }
  }

  @Test func `values beyond the largest become infinities`() {
    #expect(floatToHalf(65_504) == 0x7BFF && floatToHalf(65_519.996) == 0x7BFF)
    #expect(floatToHalf(65_520) == 0x7C00 && floatToHalf(-1e30) == 0xFC00)
    #expect(floatToHalf(.infinity) == 0x7C00 && floatToHalf(-.infinity) == 0xFC00)
    #expect(floatToHalf(1e-30) == 0 && floatToHalf(-1e-30) == 0x8000)
  }
}
