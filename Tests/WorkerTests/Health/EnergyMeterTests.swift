// Energy as the kernel counts it, read from a directory laid out as /sys.

import TestSupport
import Testing

@testable import Worker

@Suite struct `Energy of the machine` {
  private func zone(_ name: String, _ energy: Int, range: Int = 1000) -> [String: String] {
    [
      "class/powercap/\(name)/energy_uj": "\(energy)\n",
      "class/powercap/\(name)/max_energy_range_uj": "\(range)\n",
    ]
  }

  @Test func `the packages are added up, not their parts, from the meter's start`() throws {
    try withTemporaryDirectory { root in
      let parts = zone("intel-rapl:0:0", 5).merging(zone("intel-rapl-mmio:0", 5)) { $1 }
      try write(parts, below: root)
      try write(zone("intel-rapl:0", 100).merging(zone("intel-rapl:1", 900)) { $1 }, below: root)
      var meter = EnergyMeter(root: root)
      #expect(meter.read() == 0)
      try write(zone("intel-rapl:0", 130).merging(zone("intel-rapl:0:0", 800)) { $1 }, below: root)
      #expect(meter.read() == 30)
      // This one has come to its end and begun again.
      try write(zone("intel-rapl:1", 50), below: root)
      #expect(meter.read() == 30 + 150)
      #expect(meter.read() == 180)
    }
  }

  @Test func `a machine that does not tell has used nothing`() throws {
    try withTemporaryDirectory { root in
      try write(["class/powercap/intel-rapl:0/energy_uj": "much\n"], below: root)
      var meter = EnergyMeter(root: root)
      #expect(meter.read() == 0)
      var none = EnergyMeter(root: root + "/none")
      #expect(none.read() == 0)
    }
  }
}
