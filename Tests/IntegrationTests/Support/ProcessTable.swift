// The kernel's information about processes.

import Foundation
import Glibc

enum ProcessTable {
  /// Returns true if a process runs; one that has ended and was not reaped yet does not.
  static func isRunning(_ pid: Int) -> Bool {
    guard let state = fields(pid).first else { return false }
    return state != "Z" && state != "X"
  }

  /// Returns the child processes of a process.
  static func children(of parent: Int) -> [Int] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { Int($0) }.filter { fields($0).dropFirst().first == "\(parent)" }
  }

  /// Returns the arguments with which a process was started, its name first.
  static func arguments(_ pid: Int) -> [String] {
    (text("/proc/\(pid)/cmdline") ?? "").split(separator: "\0").map(String.init)
  }

  /// Returns the resident memory of a process (VmRSS); 0 if the process does not exist.
  static func residentBytes(_ pid: Int) -> Int {
    guard let status = text("/proc/\(pid)/status") else { return 0 }
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
    let kibibytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first
    return (kibibytes.flatMap { Int($0) } ?? 0) * 1024
  }

  /// Returns how many descriptors a process has open; 0 if the process does not exist.
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

  /// Returns the fields of /proc/PID/stat after the name; the state and the parent come first.
  private static func fields(_ pid: Int) -> [Substring] {
    // The name may contain blanks and parentheses, so it ends at the last parenthesis (proc(5)).
    guard let stat = text("/proc/\(pid)/stat"), let end = stat.lastIndex(of: ")") else { return [] }
    return stat[stat.index(after: end)...].split(separator: " ")
  }

  private static func text(_ path: String) -> String? {
    try? String(contentsOfFile: path, encoding: .utf8)
  }
}
