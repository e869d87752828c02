// What goes wrong below the driver: mended and told, or the device is lost. Nothing wrong comes out.

import Compute
import Foundation
import Gemma
import NPUDriver
import NPUFake
import Platform
import TestSupport
import Testing

@testable import NPUBackend

@Suite struct `Faults of an NPU` {
  private let checkpoint: Checkpoint
  private let tokens = (0..<40).map { Int32($0 * 31 % 200 + 5) }

  init() throws { checkpoint = try Checkpoint.open(Goldens.checkpoint("gemma3-random-b").path) }

  private func pipeline(_ backend: NPU) throws -> InProcessPipeline {
    try InProcessPipeline(
      checkpoint,
      backend: backend,
      split: [checkpoint.config.layers.count],
      limits: ExecutableLimits(maxRows: 64, slots: 2, contextTokens: 64)
    )
  }

  private func faults(_ text: String) throws -> [FakeFault] {
    try #require(FakeFault.list(parsing: text), "\(text)")
  }

  private func expected() throws -> [Float] {
    try pipeline(NPU.emulated(EmulatedKernel(), leastRows: .max)).logits(tokens: tokens)
  }

  @Test(arguments: [
    "abort@3", "new@3", "error@3", "timeout@3", "no-response@3", "slow@3", "hang@3", "drop@3",
    "error@2", "abort@20", "new@4,error@14",
  ])
  func `a command that fails is told, done again, and changes nothing`(_ text: String) throws {
    let notes = Lock<[String]>([])
    let backend = try NPU.emulated(
      EmulatedKernel(faults: faults(text)),
      leastRows: 4,
      patience: .milliseconds(100)
    ) { note in
      notes.withLock { $0.append(note) }
    }
    let got = try pipeline(backend).logits(tokens: tokens)
    #expect(got == (try expected()))
    let count = text.contains(",") ? 2 : 1
    #expect(backend.statistics.retries == count)
    let lines = notes.withLock { $0 }
    #expect(lines.count == count && lines.allSatisfy { $0.contains("configured anew") }, "\(lines)")
    // The words of the packet are told as they are: on npu1, all ones.
    if text.hasPrefix("error") {
      #expect(lines[0].contains("ERROR") && lines[0].contains("0xffffffff"))
    }
    if text.hasPrefix("new") { #expect(lines[0].contains("as NEW")) }
    if text.hasPrefix("drop") { #expect(lines[0].contains("has not ended within 0.1 seconds")) }
  }

  @Test(arguments: [
    ("abort@3+", "ABORT"), ("drop@2+", "has not ended"),
    ("removed@5", "No such device"), ("error@3,wedge", "only a reboot may help"),
    ("flip@6", "is wrong"), ("flip@2", "is wrong"),
  ])
  func `what cannot be mended loses the device, with its reason`(
    _ text: String,
    _ words: String
  ) throws {
    let backend = try NPU.emulated(
      EmulatedKernel(faults: faults(text)),
      leastRows: 4,
      patience: .milliseconds(100)
    )
    let runner = try pipeline(backend)
    for _ in 0..<2 {
      let error = try #require(throws: ComputeError.self) {
        _ = try runner.logits(tokens: tokens)
      }
      #expect(error.code == .device && error.message.contains(words), "\(text): \(error)")
    }
    // The same process does not use it again, even where the fault is over.
    #expect(throws: ComputeError.self) { _ = try pipeline(backend).logits(tokens: tokens) }
  }

  @Test(arguments: ["exec-eagain@1x3", "exec-eintr@1x5"])
  func `a queue that is full for a moment, or a signal, is nobody's fault`(_ text: String) throws {
    let backend = try NPU.emulated(EmulatedKernel(faults: faults(text)), leastRows: 4)
    #expect(try pipeline(backend).logits(tokens: tokens) == expected())
    #expect(backend.statistics.retries == 0)
  }

  @Test func `a full heap is emptied of code for other shapes`() throws {
    // The first piece is the configuration, the next two the code of the first product, which is tried, and of another.
    let kernel = EmulatedKernel(faults: try faults("device-eagain@4"))
    let backend = try NPU.emulated(kernel, leastRows: 4)
    #expect(try pipeline(backend).logits(tokens: tokens) == expected())
  }

  @Test(arguments: [
    ("open-enoent", ComputeError.Code.device, "cannot be opened"),
    ("version-einval", .device, "say which it is"),
    ("driver-name", .device, "not amdxdna_accel_driver"),
    ("heap-enomem", .memory, "make a heap"),
    ("device-eagain", .memory, "make a buffer"),
    ("context-ebusy", .device, "make a context"),
    ("context-einval", .device, "make a context"),
    ("flip@1", .device, "a matrix of ones is wrong"),
    ("protocol", .device, "ABORT"),
  ])
  func `a device that cannot be had is refused with the reason`(
    _ text: String,
    _ code: ComputeError.Code,
    _ words: String
  ) throws {
    let kernel = EmulatedKernel(faults: try faults(text))
    let error = try #require(throws: ComputeError.self) {
      _ = try NPU.emulated(kernel, leastRows: 4)
    }
    #expect(error.code == code && error.message.contains(words), "\(error)")
  }

  @Test func `a worker's test of its device reaches the array`() throws {
    let backend = try NPU.emulated(EmulatedKernel(faults: faults("flip@2")), leastRows: 4)
    let error = try #require(throws: ComputeError.self) { try backend.test() }
    #expect(error.code == .device && error.message.contains("a matrix of ones is wrong"))
    let right = try NPU.emulated(EmulatedKernel(), leastRows: 4)
    try right.test()
    #expect(right.statistics.dispatches == 1)
  }

  @Test func `weights without memory are refused by name`() throws {
    let kernel = EmulatedKernel(faults: try faults("shared-enomem@8"))
    let backend = try NPU.emulated(kernel, leastRows: 4)
    let error = try #require(throws: ComputeError.self) { _ = try pipeline(backend) }
    #expect(error.code == .memory && error.message.contains("npu: no memory for"), "\(error)")
  }

  @Test(arguments: ["info-eopnotsupp@1+", "info-short@1+"])
  func `questions without answers do no harm`(_ text: String) throws {
    let kernel = EmulatedKernel(faults: try faults(text))
    let info = try NPUDevice(kernel).info
    #expect(info.firmware == nil && info.columns == nil && info.arrayClock == nil)
    let backend = try NPU.emulated(kernel, leastRows: 4)
    #expect(try pipeline(backend).logits(tokens: tokens) == expected())
  }
}
