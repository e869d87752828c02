// What `doctor` says of an NPU: what there is, what is missing, and the command that mends it.

import Foundation
import Glibc
import Launch
import NPUDriver

/// An NPU, or the first thing that it lacks.
struct NPUDiagnosis {
  /// Below which the files of this machine are looked for; another place is for tests.
  var root = ""
  var kernel: any KernelInterface = SystemKernel()

  /// Returns the report.
  func report() -> DeviceReport {
    do throws(NPUDriverError) {
      let info = try NPUDevice(kernel).info
      return DeviceReport(
        device: "npu",
        available: true,
        emulated: info.isEmulated,
        detail: Self.describe(info)
      )
    } catch {
      return DeviceReport(
        device: "npu",
        available: false,
        detail: error.message,
        remedy: remedy(for: error)
      )
    }
  }

  private static func describe(_ info: NPUDeviceInfo) -> String {
    var parts = ["\(info.node), \(info.driver)"]
    parts.append("firmware " + (info.firmware ?? "of an unknown version"))
    if let columns = info.columns, let rows = info.rows {
      parts.append("\(columns) x \(rows) tiles")
    }
    if let clock = info.arrayClock { parts.append("\(clock) MHz") }
    var limit = rlimit()
    if unsafe getrlimit(__rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue), &limit) == 0,
      limit.rlim_cur != rlim_t.max
    {
      // Trestle locks nothing; some drivers count the heap's pages.
      parts.append("memlock \(describeBytes(limit.rlim_cur))")
    }
    return parts.joined(separator: ", ")
  }

  private static func describeBytes(_ count: rlim_t) -> String { "\(count >> 20) MiB" }

  private func remedy(for error: NPUDriverError) -> String? {
    switch error.code {
    case .absent: return missing()
    case .permission:
      return "sudo usermod -aG render $USER, then log in again"
    case .exhausted:
      return
        "close other programs that use the NPU; ulimit -l unlimited if the driver counts locked memory"
    case .unsupported, .refused:
      return "a newer kernel or driver may do it; journalctl -k -g amdxdna says more"
    case .timeout, .failed, .lost: return "reboot; journalctl -k -g amdxdna says more"
    }
  }

  /// What there would have to be for a node to appear.
  private func missing() -> String? {
    guard hasDevice else {
      return "this machine has no XDNA1 NPU (Ryzen 7040 and 8040 have); --emulate simulates one"
    }
    guard exists("/sys/module/amdxdna") else {
      return
        "sudo modprobe amdxdna; it needs Linux 6.14 with CONFIG_DRM_ACCEL_AMDXDNA, and this is \(Self.kernelRelease)"
    }
    guard exists("/lib/firmware/amdnpu/1502_00") else {
      return
        "install the firmware amdnpu/1502_00 (package firmware-amd-graphics or linux-firmware), then reboot"
    }
    return "journalctl -k -g amdxdna says why the driver has not taken it; an IOMMU must be on"
  }

  private func exists(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: root + path)
  }

  /// Whether the bus has such a device, whatever driver it has.
  private var hasDevice: Bool {
    let devices = root + "/sys/bus/pci/devices"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: devices)) ?? []
    return names.contains { name in
      ["vendor": "0x1022", "device": "0x1502"].allSatisfy { file, value in
        (try? String(contentsOfFile: "\(devices)/\(name)/\(file)", encoding: .utf8))?
          .hasPrefix(value) ?? false
      }
    }
  }

  static var kernelRelease: String {
    var names = utsname()
    guard unsafe uname(&names) == 0 else { return "unknown" }
    return unsafe withUnsafeBytes(of: names.release) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}
