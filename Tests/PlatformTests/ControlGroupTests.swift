// Limits of control groups, read from files as the kernel has them.

import Foundation
import Platform
import Testing
import TestSupport

@Suite struct `Control group` {
  /// Makes the files, and reads the group that a text of /proc/self/cgroup names.
  private func group(
    _ membership: String,
    _ files: [String: String],
    _ body: (ControlGroup) -> Void
  ) throws {
    try withTemporaryDirectory { root in
      for (name, text) in files {
        let url = URL(filePath: "\(root)/\(name)")
        try FileManager.default.createDirectory(
          at: url.deletingLastPathComponent(),
          withIntermediateDirectories: true
        )
        try Data(text.utf8).write(to: url)
      }
      body(ControlGroup(membership: membership, root: root))
    }
  }

  @Test func `version 2: the tightest limit from the group up to the root`() throws {
    try group(
      "0::/user.slice/app\n",
      [
        "user.slice/app/cpu.max": "max 100000\n", "user.slice/cpu.max": "150000 100000\n",
        "user.slice/app/memory.max": "2147483648\n", "user.slice/memory.max": "max\n",
        "user.slice/app/memory.current": "1610612736\n",
        "user.slice/app/memory.stat": "anon 12\ninactive_file 536870912\nactive_file 4\n",
        "user.slice/app/memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 0\n",
      ]
    ) { group in
      #expect(group.cpus == 1.5)
      #expect(group.memoryBytes == 2 << 30)
      #expect(group.availableMemoryBytes == 1 << 30)
      #expect(group.memoryKills == 2)
    }
  }

  @Test func `version 1: quotas and limits of the controllers, and none where they say so`() throws
  {
    let membership = "4:memory:/a\n3:cpu,cpuacct:/a\n1:name=systemd:/\n0::/\n"
    try group(
      membership,
      [
        "cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "100000\n",
        "memory/a/memory.limit_in_bytes": "1073741824\n",
        "memory/a/memory.usage_in_bytes": "2147483648\n",
        "memory/a/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n",
      ]
    ) { group in
      #expect(group.cpus == 0.5)
      #expect(group.memoryBytes == 1 << 30)
      #expect(group.availableMemoryBytes == 0)
      #expect(group.memoryKills == 7)
    }
    try group(
      membership,
      [
        "cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n",
        "memory/a/memory.limit_in_bytes": "9223372036854771712\n",
      ]
    ) { group in
      #expect(group.cpus == nil)
      #expect(group.memoryBytes == nil && group.availableMemoryBytes == nil)
    }
  }

  @Test func `a container that sees its host's path finds its limits at the root`() throws {
    try group("0::/docker/0123\n", ["cpu.max": "200000 100000\n", "memory.max": "1048576\n"]) {
      #expect($0.cpus == 2)
      #expect($0.memoryBytes == 1 << 20)
    }
  }

  @Test(arguments: ["", "max", "0 0", "-5 100000", "nan 100000", "100000", "1e999 1", "a b\nc"])
  func `what is no limit is none`(text: String) throws {
    try group("0::/\n", ["cpu.max": text, "memory.max": text.contains("a") ? "nan" : "max"]) {
      #expect($0.cpus.map { $0 >= 0 } ?? true)
      #expect($0.memoryBytes == nil)
    }
    try group("nonsense", [:]) { #expect($0.cpus == nil && $0.memoryKills == nil) }
  }
}
