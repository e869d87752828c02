// What profiles say of this machine: its name, and the memory it has left.

internal import Foundation
internal import Glibc
internal import Wire

enum LocalMachine {
  /// The machine's name, without asking the network.
  static var name: String {
    var name = [CChar](repeating: 0, count: 256)
    guard unsafe gethostname(&name, name.count - 1) == 0 else { return "localhost" }
    let text = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    return String(text.filter { $0.isLetter || $0.isNumber || $0 == "." })
  }

  /// What Linux says can be had without swapping: `MemAvailable` of proc_meminfo(5), or what the control
  /// group has left if that is less.
  static var availableMemoryBytes: Double {
    let text = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("MemAvailable:") }
    let kilobytes = line?.split(separator: " ").dropFirst().first.flatMap { Double($0) }
    let pages = Double(sysconf(CInt(_SC_PHYS_PAGES))) * Double(sysconf(CInt(_SC_PAGESIZE)))
    let free = kilobytes.map { $0 * 1024 } ?? pages
    return min(free, ControlGroup.own.availableMemoryBytes.map(Double.init) ?? .infinity)
  }
}
