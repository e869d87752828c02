// What the kernel tells of the machine, read from a directory laid out as /sys and from texts.

import Compute
import Foundation
import TestSupport
import Testing
import Wire

@testable import Worker

@Suite struct `Sensors of the machine` {
  /// Reads a device's temperature from files below a directory.
  private func temperature(
    of device: DeviceSensors = .processor,
    _ files: [String: String]
  ) throws -> Temperature? {
    try withTemporaryDirectory { root in
      try write(files, below: root)
      return Sensors(root: root).temperature(of: device)
    }
  }

  private let ryzen = [
    "class/hwmon/hwmon0/name": "nvme\n", "class/hwmon/hwmon0/temp1_input": "70850\n",
    "class/hwmon/hwmon1/name": "amdgpu\n", "class/hwmon/hwmon1/temp1_input": "45000\n",
    "class/hwmon/hwmon1/temp1_label": "edge\n", "class/hwmon/hwmon2/name": "k10temp\n",
    "class/hwmon/hwmon2/temp1_input": "61375\n", "class/hwmon/hwmon2/temp1_label": "Tctl\n",
    "class/hwmon/hwmon2/temp1_max": "95000\n",
  ]

  @Test func `a device's own sensor is read, with its name`() throws {
    #expect(try temperature(ryzen) == Temperature(sensor: "k10temp Tctl", celsius: 61.375))
    #expect(
      try temperature(of: DeviceSensors(monitors: ["xe", "amdgpu"]), ryzen)
        == Temperature(sensor: "amdgpu edge", celsius: 45)
    )
  }

  @Test func `what the kernel does not tell is absent, not zero`() throws {
    #expect(try temperature([:]) == nil)
    #expect(try temperature(of: DeviceSensors(), ryzen) == nil)
    #expect(try temperature(["class/hwmon/hwmon0/name": "k10temp"]) == nil)
  }

  @Test func `the hottest of several counts; without a label the input's name`() throws {
    let found = try temperature([
      "class/hwmon/hwmon0/name": "coretemp", "class/hwmon/hwmon0/temp1_input": "50000",
      "class/hwmon/hwmon0/temp1_label": "Package id 0", "class/hwmon/hwmon0/temp2_input": "52000",
    ])
    #expect(found == Temperature(sensor: "coretemp temp2", celsius: 52))
  }

  @Test func `a thermal zone of the CPU serves where no monitor does`() throws {
    let zones = [
      "class/thermal/thermal_zone0/type": "acpitz\n", "class/thermal/thermal_zone0/temp": "99000",
      "class/thermal/thermal_zone1/type": "x86_pkg_temp",
      "class/thermal/thermal_zone1/temp": "48000",
      "class/thermal/cooling_device0/type": "x86_pkg_temp",
    ]
    #expect(try temperature(zones) == Temperature(sensor: "x86_pkg_temp", celsius: 48))
    let both = zones.merging(ryzen) { first, _ in first }
    #expect(try temperature(both)?.sensor == "k10temp Tctl")
  }

  @Test(arguments: ["", "\n", "hot", "-128000", "255000", "61.5", "9223372036854775808", "\u{0}"])
  func `nonsense is no temperature`(text: String) throws {
    let files = ["class/hwmon/hwmon0/name": "k10temp", "class/hwmon/hwmon0/temp1_input": text]
    #expect(try temperature(files) == nil)
  }

  @Test func `endless or binary texts are no temperature`() throws {
    var files = ["class/hwmon/hwmon0/name": "k10temp"]
    files["class/hwmon/hwmon0/temp1_input"] = String(repeating: "1", count: 100_000)
    #expect(try temperature(files) == nil)
    try withTemporaryDirectory { root in
      let chip = URL(filePath: root).appending(path: "class/hwmon/hwmon0")
      try FileManager.default.createDirectory(at: chip, withIntermediateDirectories: true)
      try Data([0xFF, 0xFE, 0x31]).write(to: chip.appending(path: "name"))
      #expect(Sensors(root: root).temperature(of: .processor) == nil)
    }
  }
}
