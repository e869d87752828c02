// The self-test on this program's own backends: right kernels pass it with room to spare.

import CPUBackend
import Compute
import Testing
import Wire
import Worker

@Suite struct `Backends under the self-test` {
  @Test(arguments: InstructionSet.allCases.filter(\.isSupported))
  func `the CPU passes it at every precision of the cache`(_ set: InstructionSet) throws {
    for type in CacheType.allCases {
      let backend = try CPU(threads: 2, pinnedTo: nil, cacheType: type, instructionSet: set)
      let report = DeviceTest.run(0, on: backend)
      #expect(report.failure.isEmpty, "\(set), \(type): \(report)")
      #expect(report.maxError < DeviceTest.tolerance / 2, "\(set), \(type): \(report)")
    }
  }
}
