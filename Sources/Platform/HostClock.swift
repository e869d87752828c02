// The clock that all processes of one machine share, and how two processes find out that they share
// it.

internal import Glibc

extension ContinuousClock.Instant {
  /// Microseconds since the machine booted, suspended time included (CLOCK_BOOTTIME): the same for
  /// all processes of the machine.
  package var microsecondsSinceBoot: UInt64 {
    UInt64(max(0, (self - ContinuousClock().systemEpoch) / .microseconds(1)))
  }
}

/// Tells machines apart.
package enum Host {
  /// A text that differs for each boot of each machine (random(4)).
  ///
  /// It is empty if the kernel does not tell it; then no two processes are taken to share a clock.
  package static var bootID: String {
    guard let file = unsafe fopen("/proc/sys/kernel/random/boot_id", "r") else { return "" }
    defer { unsafe fclose(file) }
    var line = [CChar](repeating: 0, count: 64)
    guard unsafe fgets(&line, CInt(line.count), file) != nil else { return "" }
    let bytes = line.prefix { $0 != 0 && $0 != 10 }.map(UInt8.init(bitPattern:))
    return String(decoding: bytes, as: UTF8.self)
  }
}
