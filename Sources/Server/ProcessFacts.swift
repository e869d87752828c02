// How this process is, as the kernel tells.

internal import Foundation
internal import Glibc
internal import Platform

/// Facts of this process.
struct ProcessFacts {
  let cpuSeconds: Double
  let residentBytes: Double
  let openFiles: Double

  init() {
    var usage = rusage()
    unsafe getrusage(RUSAGE_SELF.rawValue, &usage)
    cpuSeconds = [usage.ru_utime, usage.ru_stime].reduce(0) {
      $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1e6
    }
    residentBytes = Double(SystemMemory.resident)
    let files = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
    openFiles = Double(files?.count ?? 0)
  }
}
