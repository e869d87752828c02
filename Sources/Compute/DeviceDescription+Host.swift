// The memory and sensors of devices that compute on the host's own processor.

internal import Glibc

extension DeviceMemory {
  /// Returns the machine's memory, or the part of it that this process may use: `byteCount`, nil for
  /// all that the machine has.
  package static func host(_ byteCount: UInt64? = nil) -> DeviceMemory {
    DeviceMemory(
      byteCount: byteCount ?? physicalByteCount,
      isHostMemory: true,
      isSharedByWorkers: true
    )
  }

  private static var physicalByteCount: UInt64 {
    let pages = UInt64(max(0, sysconf(CInt(_SC_PHYS_PAGES))))
    return pages * UInt64(max(0, sysconf(CInt(_SC_PAGESIZE))))
  }
}

extension DeviceSensors {
  /// The sensors of x86 and ARM processors.
  package static let processor = DeviceSensors(
    monitors: ["k10temp", "zenpower", "coretemp", "cpu_thermal"],
    zones: ["x86_pkg_temp", "cpu-thermal", "cpu_thermal"]
  )
}
