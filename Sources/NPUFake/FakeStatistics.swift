// What a kernel has done so far.

package struct FakeStatistics: Sendable, Hashable {
  /// Commands that have been submitted, those of chains each.
  package var commands = 0
  /// Commands that have ended as COMPLETED.
  package var completed = 0
  package var chains = 0
  package var waits = 0
  package var contexts = 0
  /// Bytes that were synchronised for the device, and back.
  package var bytesToDevice = 0
  package var bytesFromDevice = 0
  /// An estimate of all calls of the array.
  package var cycles = 0
  /// What was wrong with commands and calls, the last at the end, and no more than `mostFaults`.
  package var faults: [String] = []

  package static let mostFaults = 32

  package var lastFault: String? { faults.last }

  mutating func note(_ fault: String) {
    if faults.count == Self.mostFaults { faults.removeFirst() }
    faults.append(fault)
  }
}
