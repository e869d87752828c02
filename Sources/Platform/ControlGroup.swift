// What a container or a service manager allows this process: the limits of its control groups,
// which `sysconf` does not report (kernel documentation: admin-guide/cgroup-v2, and for version 1
// cgroup-v1/memory and scheduler/sched-bwc).

internal import Glibc

/// The control groups of a process, from its own up to the root that it sees.
package struct ControlGroup: Sendable {
  /// The control groups of this process.
  package static let own = ControlGroup()

  /// Directories with the files of one controller, the innermost first.
  private let cpu: [String]
  private let memory: [String]
  private let isUnified: Bool

  /// - Parameters:
  ///   - membership: The text of /proc/self/cgroup; if nil, the file is read.
  ///   - root: Where control groups are mounted.
  package init(membership: String? = nil, root: String = "/sys/fs/cgroup") {
    let text = membership ?? Self.read("/proc/self/cgroup") ?? ""
    var paths: [String: String] = [:]
    for line in text.split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      for controller in fields[1].split(separator: ",", omittingEmptySubsequences: false) {
        paths[String(controller)] = String(fields[2])
      }
    }
    // Version 1 names its controllers; where memory is one of them, the nameless version 2 does not
    // have it.
    isUnified = paths["memory"] == nil && paths["cpu"] == nil
    if isUnified {
      cpu = Self.levels(paths[""] ?? "/", under: root)
      memory = cpu
    } else {
      cpu = Self.levels(paths["cpu"] ?? "/", under: "\(root)/cpu")
      memory = Self.levels(paths["memory"] ?? "/", under: "\(root)/memory")
    }
  }

  /// How many CPUs' worth of time the process may use; nil if there is no limit.
  package var cpus: Double? {
    cpu.compactMap { directory in
      if isUnified {
        // "$MAX $PERIOD", or "max $PERIOD".
        let fields = Self.numbers("\(directory)/cpu.max")
        return fields.count == 2 && fields[0] > 0 && fields[1] > 0 ? fields[0] / fields[1] : nil
      }
      let quota = Self.numbers("\(directory)/cpu.cfs_quota_us").first ?? -1
      let period = Self.numbers("\(directory)/cpu.cfs_period_us").first ?? 0
      return quota > 0 && period > 0 ? quota / period : nil
    }
    .min()
  }

  /// How many bytes of memory the process may use; nil if there is no limit.
  package var memoryBytes: UInt64? { limits.map(\.limit).min() }

  /// How many bytes the process may still use; nil if there is no limit.
  ///
  /// Pages of files that are not in use count as free, because the kernel reclaims them when memory
  /// is needed.
  package var availableMemoryBytes: UInt64? {
    limits.map { directory, limit in
      let used = Self.numbers(
        "\(directory)/\(isUnified ? "memory.current" : "memory.usage_in_bytes")"
      )
      let idle = Self.value(
        isUnified ? "inactive_file" : "total_inactive_file",
        directory,
        "memory.stat"
      )
      let held = max(0, (used.first ?? 0) - Double(idle ?? 0))
      return held < Double(limit) ? limit - UInt64(held) : 0
    }
    .min()
  }

  /// How many processes of the group the kernel has killed for lack of memory; nil if it does not
  /// tell.
  package var memoryKills: UInt64? {
    memory.first.flatMap { directory in
      Self.value("oom_kill", directory, isUnified ? "memory.events" : "memory.oom_control")
    }
  }

  /// How many processes the kernel has killed for lack of memory since the machine was booted
  /// (`oom_kill` of /proc/vmstat); nil if it does not tell.
  package static var memoryKillsOfMachine: UInt64? { value("oom_kill", "/proc", "vmstat") }

  private var limits: [(directory: String, limit: UInt64)] {
    memory.compactMap { directory in
      let name = isUnified ? "memory.max" : "memory.limit_in_bytes"
      // Without a limit: "max", or the largest multiple of a page (version 1).
      guard let limit = Self.numbers("\(directory)/\(name)").first, limit < 0x1p62, limit >= 0
      else { return nil }
      return (directory, UInt64(limit))
    }
  }
}

// MARK: Files

extension ControlGroup {
  /// Returns the directories from a group up to the root.
  ///
  /// A container that sees its host's path finds its own limits at the root.
  private static func levels(_ path: String, under root: String) -> [String] {
    var names = path.split(separator: "/").filter { $0 != ".." && $0 != "." }
    var levels: [String] = []
    while !names.isEmpty {
      levels.append(root + "/" + names.joined(separator: "/"))
      names.removeLast()
    }
    return (levels + [root]).filter { unsafe access($0, F_OK) == 0 }
  }

  /// Returns the numbers of a file of one line; none if a word is no number.
  private static func numbers(_ path: String) -> [Double] {
    let words = (read(path) ?? "").split { $0 == " " || $0 == "\n" }
    let numbers = words.compactMap { Double($0) }.filter(\.isFinite)
    return numbers.count == words.count ? numbers : []
  }

  /// Returns the number that follows a name, in a file with a name and a number on each line.
  private static func value(_ name: String, _ directory: String, _ file: String) -> UInt64? {
    for line in (read("\(directory)/\(file)") ?? "").split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2, words[0] == name { return UInt64(words[1]) }
    }
    return nil
  }

  /// Returns the text of a small file of the kernel; nil if it cannot be read.
  private static func read(_ path: String) -> String? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 16 << 10)
    let count = unsafe bytes.withUnsafeMutableBytes {
      unsafe Glibc.read(descriptor, $0.baseAddress, $0.count)
    }
    return count >= 0 ? String(decoding: bytes.prefix(count), as: UTF8.self) : nil
  }
}
