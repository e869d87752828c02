// Profiles that are measured once and kept, and what becomes of those that do not fit any more.

import Content
import Coordinator
import Foundation
import Gemma
import TestSupport
import Platform
import Testing
import Wire

@testable import Launch

@Suite struct `Profile cache` {
  let checkpoint: Checkpoint
  let workers: [WorkerPlan]

  init() throws {
    checkpoint = try tinyCheckpoint()
    var settings = PipelineSettings()
    settings.devices = ["cpu", "cpu"]
    settings.threads = [1, 1]
    let one = AvailableCPUs(allowed: [0], usableCount: 1)
    workers = try WorkerPlan.resolve(settings, among: .tested(), on: one)
  }

  private func cache(
    _ surroundings: Surroundings,
    measuresAgain: Bool = false
  ) throws -> ProfileCache {
    try ProfileCache(
      checkpoint: checkpoint,
      fingerprint: { Digest(of: [1]) },
      shape: ModelShape(checkpoint, passesAllLayers: false),
      cacheType: nil,
      measuresAgain: measuresAgain,
      context: surroundings.context
    )
  }

  /// Workers of the registry of some surroundings, which counts their backends.
  private func counted(_ surroundings: Surroundings) throws -> [WorkerPlan] {
    try workers.map { worker in
      var worker = worker
      worker.device = try surroundings.context.devices.kind(named: worker.device.name)
      return worker
    }
  }

  private func profiles(
    _ surroundings: Surroundings,
    measuresAgain: Bool = false
  ) throws -> [ProfileDocument] {
    try cache(surroundings, measuresAgain: measuresAgain).profiles(of: counted(surroundings))
  }

  private func files(_ directory: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "\(directory)/profiles")
      .map { "\(directory)/profiles/\($0)" }
  }

  @Test func `a device is measured once for equal workers, and not at the next start`() throws {
    try withTemporaryDirectory { directory in
      let first = Surroundings(in: directory)
      let measured = try profiles(first)
      #expect(measured.map { $0.devices[0].name } == ["cpu-0", "cpu-1"])
      #expect(measured[0].devices[0].layers == measured[1].devices[0].layers)
      #expect(first.backends.withLock { $0 } == 1)
      let second = Surroundings(in: directory)
      let kept = try profiles(second)
      #expect(kept.map { $0.devices[0].layers } == measured.map { $0.devices[0].layers })
      #expect(kept.map { $0.devices[0].name } == ["cpu-0", "cpu-1"])
      #expect(second.backends.withLock { $0 } == 0)
      #expect(first.notes.lines.isEmpty && second.notes.lines.isEmpty)
    }
  }

  @Test func `a model that stays in the processor's cache is not limited by memory`() throws {
    try withTemporaryDirectory { directory in
      let measured = try profiles(Surroundings(in: directory))
      #expect(measured[0].machines[0].sharedBandwidthBytesPerSecond == nil)
    }
  }

  @Test func `another version's profile is stale, and so is any that shall be measured again`()
    throws
  {
    try withTemporaryDirectory { directory in
      _ = try profiles(Surroundings(in: directory))
      let newer = Surroundings(in: directory, version: "2")
      _ = try profiles(newer)
      #expect(newer.backends.withLock { $0 } == 1)
      #expect(try files(directory).count == 2)
      let again = Surroundings(in: directory)
      _ = try profiles(again, measuresAgain: true)
      #expect(again.backends.withLock { $0 } == 1)
      #expect(newer.notes.lines.isEmpty && again.notes.lines.isEmpty)
    }
  }

  @Test(arguments: ["", "{}", "{\"version\":1}", "not json"])
  func `a damaged file is told of, and replaced`(_ damage: String) throws {
    try withTemporaryDirectory { directory in
      _ = try profiles(Surroundings(in: directory))
      let file = try #require(files(directory).first)
      try Data(damage.utf8).write(to: URL(filePath: file))
      let second = Surroundings(in: directory)
      _ = try profiles(second)
      #expect(second.backends.withLock { $0 } == 1)
      #expect(second.notes.lines.count == 1)
      #expect(
        second.notes.lines[0].hasPrefix("cached profile cannot be used; measuring again: ")
      )
      let third = Surroundings(in: directory)
      _ = try profiles(third)
      #expect(third.backends.withLock { $0 } == 0)
    }
  }

  @Test func `a profile of another model's layers is not used`() throws {
    try withTemporaryDirectory { directory in
      _ = try profiles(Surroundings(in: directory))
      let file = try #require(files(directory).first)
      var document = try ProfileDocument.read(file)
      document.devices[0].layers.removeAll()
      try document.json().write(to: URL(filePath: file))
      let second = Surroundings(in: directory)
      _ = try profiles(second)
      #expect(second.backends.withLock { $0 } == 1 && second.notes.lines.count == 1)
    }
  }

  @Test func `what cannot be kept is used all the same`() throws {
    try withTemporaryDirectory { directory in
      try Data().write(to: URL(filePath: "\(directory)/profiles"))
      let surroundings = Surroundings(in: directory)
      #expect(try profiles(surroundings).count == 2)
      #expect(surroundings.notes.lines.count == 1)
      #expect(
        surroundings.notes.lines[0].hasPrefix(
          "profile cannot be stored; the next start will measure again: "
        )
      )
    }
  }

  @Test func `a file of profiles that is not there is named`() throws {
    let error = try #require(throws: LaunchError.self) {
      _ = try ProfileDocument.read("/nonexistent.json")
    }
    #expect(error.code == .profile && error.message == "/nonexistent.json: cannot be read")
  }
}
