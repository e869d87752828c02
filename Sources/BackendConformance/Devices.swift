// What every backend must say of its device, and abide by.

package import Compute

/// Holds a backend's description of its device against what the backend does.
///
/// - Returns: One line for each thing that is wrong.
package func checkDevice(of backend: any Backend) -> [String] {
  let device = backend.device
  var wrong: [String] = []
  func expect(_ condition: Bool, _ name: String) {
    if !condition { wrong.append("\(device.name): \(name)") }
  }
  expect(device == backend.device, "the description changes")
  expect(!device.name.isEmpty, "no name")
  expect(device.ops.map(\.op) == OpKind.allCases, "not every op is listed, once and in order")
  expect(
    device.weightTypes.map(\.type) == TensorType.allCases,
    "not every type of weights is listed, once and in order"
  )
  expect(!device.cacheTypes.isEmpty, "no type of caches")
  expect(Set(device.cacheTypes).count == device.cacheTypes.count, "a type of caches twice")
  expect(device.memory.byteCount > 0, "no memory")
  expect(device.hostThreads >= 0 && device.preferredRows > 0 && device.rateHint > 0, "no numbers")
  for kind in OpKind.allCases {
    for testCase in kind.cases(seed: 1) {
      for op in testCase.program.ops where isRefused(device.support(for: op)) {
        expect(isRefused(backend.support(for: op)), "\(op.name) is supported though it is not")
      }
      checkRefusal(testCase, backend, expect)
    }
  }
  return wrong
}

private func isRefused(_ support: Support) -> Bool {
  if case .unsupported = support { true } else { false }
}

/// Compiles what is not supported, and looks at the caches of what is.
private func checkRefusal(
  _ testCase: ConformanceCase,
  _ backend: any Backend,
  _ expect: (Bool, String) -> Void
) {
  let refused = testCase.program.ops.filter { isRefused(backend.support(for: $0)) }
  guard !refused.isEmpty || !testCase.program.caches.isEmpty else { return }
  do {
    let executable = try backend.compile(
      testCase.program,
      weights: testCase.weights,
      limits: testCase.limits,
      sharing: nil
    ) { _ in }
    expect(refused.isEmpty, "\(testCase.name) was compiled")
    for storage in executable.storages {
      expect(
        backend.device.cacheTypes.contains(storage.type),
        "\(testCase.name): a cache of \(storage.type.rawValue)"
      )
    }
  } catch let error as ComputeError {
    expect(!refused.isEmpty && error.code == .unsupported, "\(testCase.name): \(error)")
  } catch {
    expect(false, "\(testCase.name): \(error)")
  }
}
