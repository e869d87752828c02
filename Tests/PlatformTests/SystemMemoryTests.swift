// Memory as the kernel tells of it.

import Platform
import Testing

@Suite struct `System memory` {
  @Test func `available memory is read from meminfo`() {
    let text = "MemTotal:       24000000 kB\nMemAvailable:    1048576 kB\nHugePages_Total:   0\n"
    #expect(SystemMemory.available(inMeminfo: text) == 1 << 30)
    for bad in [
      "", "MemTotal: 1 kB", "MemAvailable: x kB", "MemAvailable: 12", "MemAvailable:",
      "MemAvailable: 99999999999999999999 kB",
      "MemAvailable: 18446744073709551615 kB",
    ] {
      #expect(SystemMemory.available(inMeminfo: bad) == nil, "\(bad)")
    }
  }

  @Test func `this process holds some of it`() throws {
    let (total, resident) = (SystemMemory.total, SystemMemory.resident)
    #expect(resident > 1 << 20)
    #expect(total > resident)
    #expect(try #require(SystemMemory.available) <= total)
  }
}
