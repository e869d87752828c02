// Numbers of bytes as text.

import Testing

@testable import Platform

@Suite struct `Numbers of bytes` {
  @Test(arguments: [
    (0, "0 B"), (1023, "1023 B"), (12 << 10, "12.0 KiB"), (356_515_840, "340 MiB"),
    (1_288_490_189, "1.2 GiB"), (104_857_599, "100.0 MiB"), (1 << 60, "1048576 TiB"),
  ])
  func `they have three digits and the unit that fits`(_ bytes: UInt64, _ text: String) {
    #expect(describe(bytes: bytes) == text)
  }
}
