// What the kernel says about processes.

import Foundation
import Glibc

enum ProcessTable {
  /// True if a process runs; one that has ended and waits to be collected does not.
  static func isRunning(_ pid: Int) -> Bool {
    guard let state = fields(pid).first else { return false }
    return state != "Z" && state != "X"
  }

  /// The processes that a process has started.
  static func children(of parent: Int) -> [Int] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { Int($0) }.filter { fields($0).dropFirst().first == "\(parent)" }
  }

  /// The arguments a process was started with, its name first.
  static func arguments(_ pid: Int) -> [String] {
    (text("/proc/\(pid)/cmdline") ?? "").split(separator: "\0").map(String.init)
  }

  /// The memory a process has in use (VmRSS); 0 if there is none.
  static func residentBytes(_ pid: Int) -> Int {
    guard let status = text("/proc/\(pid)/status") else { return 0 }
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
    let kibibytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first
    return (kibibytes.flatMap { Int($0) } ?? 0) * 1024
  }

  /// How many descriptors a process has open; 0 if there is none.
  static func descriptorCount(_ pid: Int) -> Int {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd"))?.count ?? 0
  }

  /// Sets how many descriptors a process may have open from now on.
  static func setDescriptorLimit(_ pid: Int, _ count: Int) throws {
    let setting = Process()
    setting.executableURL = URL(filePath: "/usr/bin/prlimit")
    setting.arguments = ["--pid", "\(pid)", "--nofile=\(count):"]
    try setting.run()
    setting.waitUntilExit()
    guard setting.terminationStatus == 0 else {
      throw ProcessError(description: "prlimit: status \(setting.terminationStatus)")
    }
  }

  /// The fields of /proc/PID/stat behind the name: state and parent come first.
  private static func fields(_ pid: Int) -> [Substring] {
    // The name may hold blanks and parentheses: the last one ends it (proc(5)).
    guard let stat = text("/proc/\(pid)/stat"), let end = stat.lastIndex(of: ")") else { return [] }
    return stat[stat.index(after: end)...].split(separator: " ")
  }

  private static func text(_ path: String) -> String? {
    try? String(contentsOfFile: path, encoding: .utf8)
  }
}
