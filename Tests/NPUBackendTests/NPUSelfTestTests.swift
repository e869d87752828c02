// The self-test passes whole on an emulation, and fails where it should: at the first step that needs what is broken.

import NPUArray
import NPUDriver
import NPUFake
import Testing

@testable import NPUBackend

@Suite struct `Self-test of an NPU` {
  private func run(
    _ fault: String? = nil,
    foreign: ForeignDesign? = nil
  ) throws -> [NPUSelfTestStep] {
    let faults = try fault.map { try #require(FakeFault.list(parsing: $0)) } ?? []
    return try NPUSelfTest(
      EmulatedKernel(faults: faults),
      foreign: foreign,
      patience: .milliseconds(200),
      largest: (128, 192, 256)
    ).run().steps
  }

  /// The order is from what cannot hang to what can.
  private static let names = [
    "open", "queries", "foreign design", "pass-through", "copy", "block", "core", "array",
    "product",
  ]

  @Test func `every step passes, a foreign design as well`() throws {
    let compiled = try BringUp.passThrough(column: 1, words: 64).compiled()
    let code = try HostCall.operations(for: [
      HostTransfer(.outOfMemory, column: 1, argument: 0, words: 128),
      HostTransfer(.intoMemory, column: 1, argument: 1, words: 128),
    ])
    let foreign = ForeignDesign(image: compiled.image, code: ControlCode.words(of: code))
    let steps = try run(foreign: foreign)
    #expect(steps.map(\.name) == Self.names)
    #expect(steps.allSatisfy { $0.outcome == .passed }, "\(steps)")
    #expect(steps[2].detail == "\(code.count) operations on 2 arguments")
    #expect(steps.last?.detail.contains("an emulation's speed says nothing") == true)
  }

  @Test func `without a foreign design that step is skipped, and the others pass`() throws {
    let steps = try run()
    #expect(steps.filter { $0.outcome == .skipped }.map(\.name) == ["foreign design"])
    #expect(steps.filter { $0.outcome == .passed }.count == 8)
  }

  @Test(arguments: [
    ("open-enoent", "open"), ("version-einval", "open"), ("driver-name", "open"),
    ("heap-enomem", "open"), ("info-eopnotsupp@1+", "queries"), ("context-ebusy", "pass-through"),
    ("protocol", "pass-through"), ("flip@1", "pass-through"), ("device-eagain", "pass-through"),
    ("error@2", "copy"), ("drop@2", "copy"), ("flip@2", "copy"), ("new@3", "block"),
    ("hang@3", "block"), ("flip@4", "core"), ("removed@4", "core"), ("flip@5", "array"),
    ("timeout@6", "product"), ("flip@6", "product"),
  ])
  func `a fault is found at the step that needs what is broken`(
    _ fault: String,
    _ name: String
  ) throws {
    let steps = try run(fault)
    let failed = steps.filter { $0.outcome == .failed }
    #expect(failed.map(\.name) == [name], "\(fault): \(steps)")
    let place = try #require(Self.names.firstIndex(of: name))
    #expect(steps[(place + 1)...].allSatisfy { $0.outcome == .skipped })
    #expect(steps.map(\.name) == Self.names)
  }
}
