// Who may import whom: the floor plan of docs/ARCHITECTURE.md as a table, held against the manifest
// and against every import.

import Testing

/// What each module may depend on.
///
/// Arrows go down; siblings do not know each other: a coordinator
/// reaches a worker by messages, a worker reaches its backend as `any Backend`.
private let floorPlan: [String: Set<String>] = [
  "trestle": [
    "Server", "Client", "Launch", "Coordinator", "Worker", "CPUBackend", "VulkanBackend",
    "NPUBackend", "NPUDriver", "NPUFake", "NPUArray", "BackendConformance", "Quantization", "Hub",
    "Gemma", "ModelFiles", "Wire", "Compute", "Content", "Platform",
    "CPUKernels", "CLinux", "ArgumentParser", "Logging",
  ],
  "Server": [
    "Client", "Gemma", "ModelFiles", "Wire", "Content", "Platform", "ServerPage", "Hummingbird",
    "HummingbirdCore", "HTTPTypes", "NIOCore", "NIOHTTP1", "NIOHTTPTypes", "AsyncAlgorithms",
    "ServiceLifecycle", "Logging",
  ],
  "Client": ["Wire", "Platform"],
  "Launch": [
    "Coordinator", "Worker", "Gemma", "ModelFiles", "Wire", "Compute", "Content", "Platform",
    "CLinux", "Logging",
  ],
  "Coordinator": [
    "Wire", "Gemma", "Grammar", "ModelFiles", "Compute", "Content", "Platform", "CLinux", "Logging",
  ],
  "Worker": [
    "Wire", "Gemma", "ModelFiles", "Compute", "Content", "Platform", "CLinux", "Logging",
  ],
  "Wire": ["WireMessages", "CZeroMQ", "Content", "Platform", "CSocketGuard", "CLinux"],
  "Grammar": [],
  "GrammarLab": ["Grammar"],
  "NPUArray": [],
  "CCalibrationText": [],
  "Quantization": [
    "QuantiseKernels", "CCalibrationText", "Gemma", "ModelFiles", "Compute", "Content", "Platform",
  ],
  "QuantiseKernels": [],
  "Gemma": ["ModelFiles", "Compute", "Content", "Platform"],
  "ModelFiles": ["Compute", "Content", "Platform", "CLinux"],
  "CPUBackend": ["Compute", "CPUKernels"],
  "VulkanBackend": ["Compute", "CVulkan", "VulkanKernels"],
  "NPUDriver": ["CAMDXDNA"],
  "NPUBackend": ["CPUBackend", "NPUDriver", "NPUArray", "NPUKernels", "Compute", "Platform"],
  "NPUFake": ["NPUDriver", "NPUArray", "CAMDXDNA", "Platform", "CLinux"],
  "NPUKernels": [],
  "CAMDXDNA": [],
  "NPUFakeRunner": ["NPUFake"],
  "CNPUPreload": [],
  "Compute": [],
  "Content": ["CSodium"],
  "Hub": ["ModelFiles", "Content", "Platform", "CCurl"],
  "Platform": ["CLinux"],
  "CPUKernels": [],
  "VulkanKernels": [],
  "CVulkan": [],
  "ServerPage": [],
  "WireMessages": [],
  "CZeroMQ": [],
  "CSodium": [],
  "CCurl": [],
  "CLinux": [],
  "CSocketGuard": [],
  "BackendConformance": ["Compute"],
  "FakeGPUBackend": ["Compute"],
  "TestSupport": ["Compute", "Gemma", "ModelFiles"],
  "HostileWorker": ["Worker", "CPUBackend", "Gemma", "Compute", "Wire", "ArgumentParser"],
]

/// Modules of the toolchain that anybody may import.
private let toolchain: Set<String> = [
  "CDispatch", "Dispatch", "Foundation", "Glibc", "Synchronization",
]

@Suite struct `The floor plan` {
  let targets = Manifest.targets(Checkout.text("Package.swift") ?? "")

  @Test func `the manifest has the targets of the table, no more and no fewer`() {
    let names = Set(targets.filter { $0.kind != .test }.map(\.name))
    #expect(names == Set(floorPlan.keys))
  }

  @Test func `no target depends on more than the table allows`() {
    for target in targets {
      guard let allowed = floorPlan[target.name] else { continue }
      let surplus = target.dependencies.subtracting(allowed).sorted()
      #expect(surplus.isEmpty, "Package.swift: \(target.name) may not depend on \(surplus)")
    }
  }

  @Test func `the table has no circle`() {
    var order: [String] = []
    var left = floorPlan
    while let next = left.first(where: { $0.value.isDisjoint(with: left.keys) }) {
      order.append(next.key)
      left[next.key] = nil
    }
    #expect(left.isEmpty, "these depend on one another: \(left.keys.sorted())")
  }

  /// SwiftPM lets an import pass that a declared dependency reaches transitively.
  @Test func `every import is a declared dependency`() {
    var seen = 0
    for target in targets {
      for file in Checkout.files where file.isSwift && file.path.hasPrefix(target.path + "/") {
        for module in imports(file) {
          let isTest = file.path.hasPrefix("Tests/")
          let known =
            target.dependencies.contains(module) || toolchain.contains(module)
            || isTest && module == "Testing"
          #expect(known, "\(file): \(target.name) does not declare \(module)")
          seen += 1
        }
      }
    }
    #expect(seen > 50, "only \(seen) imports were found: the search is broken")
  }

  @Test func `every Swift source belongs to a target`() {
    for file in Checkout.files where file.isSwift && file.path != "Package.swift" {
      let owners = targets.filter { file.path.hasPrefix($0.path + "/") }
      #expect(owners.count == 1, "\(file) belongs to \(owners.map(\.name))")
    }
  }

  private func imports(_ file: ProjectFile) -> [String] {
    SourceText(file.text, swift: true).text.split(separator: "\n").compactMap { line in
      guard line.contains("import ") else { return nil }
      let pattern = #/^\s*(?:[@\w]+\s+)*import\s+(?:(?:struct|class|enum|protocol|func)\s+)?(\w+)/#
      return line.firstMatch(of: pattern).map { String($0.output.1) }
    }
  }
}
