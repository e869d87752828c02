// A worker without a model file, and a coordinator that damages or withholds pieces.

import Compute
import Content
import Foundation
import Gemma
import Glibc
import Logging
import ModelFiles
import TestSupport
import Testing
import Wire

@testable import Worker
import Platform

/// Serves a checkpoint as a coordinator does, but for its faults.
private final class FakeCoordinator: Sendable {
  /// What it does with the next pieces it is asked for.
  struct Conduct {
    /// How many are damaged on their way.
    var damaged = 0
    /// Whether it says that it has another model.
    var refuses = false
    /// How often it says that it is not ready to describe its model.
    var pendings = 0
    /// Whether it describes another model by now.
    var hasAnother = false
    /// Every piece that was asked for, and how often; those of lists of digests not counted.
    var asked: [ChunkID: Int] = [:]
    /// The receipts that went with pieces, and those that came back.
    var given: [UInt64] = []
    var receipts: [UInt64] = []
  }

  let endpoint: Endpoint
  let conduct = Lock(Conduct())
  let checkpoint: Checkpoint
  private let stop: Mailbox<Void>
  private let thread = Lock<Platform.Thread?>(nil)

  init(_ checkpoint: Checkpoint, in directory: String) throws {
    self.checkpoint = checkpoint
    endpoint = try Endpoint("ipc://\(directory)/front")
    stop = try Mailbox()
    let files = try checkpoint.files()
    let digests = try Checkpoint.pieceDigests(of: files, size: Limits.chunkBytes, ContentReader())
    let lists = digests.map { $0.flatMap(\.bytes) }
    let description = ModelDescription(
      fingerprint: try checkpoint.fingerprint(),
      name: "fake",
      isDirectory: true,
      files: zip(files, lists).map { file, list in
        ModelFile(
          name: file.name,
          size: UInt64(file.file.size),
          headerBytes: UInt64(file.headerByteCount),
          digests: [Digest(of: list)]
        )
      }
    )
    let (endpoint, stop, conduct) = (endpoint, stop, conduct)
    let started = try Platform.Thread {
      do {
        let context = try ZeroMQContext()
        let front = try Socket(context, role: .router)
        try front.bind(endpoint)
        while true {
          let ready = try poll(sockets: [front], descriptors: [stop.descriptor], timeout: nil)
          if ready.contains(descriptor: stop.descriptor) { break }
          while let received = try front.receive() {
            guard let peer = received.peer else { continue }
            let message = try received.content.get().message
            if case .pullReceipt(let receipt) = message {
              conduct.withLock { $0.receipts += receipt.receipts }
              continue
            }
            let answer = try Self.answer(message, description, files, lists, conduct)
            _ = try front.send(answer, to: peer)
          }
        }
        front.close()
        context.close()
      } catch {
        Issue.record(error)
      }
    }
    thread.withLock { $0 = started }
  }

  func close() {
    stop.post(())
    thread.withLock { $0?.join() }
  }

  private static func answer(
    _ message: Message,
    _ description: ModelDescription,
    _ files: [Checkpoint.File],
    _ lists: [[UInt8]],
    _ conduct: Lock<Conduct>
  ) throws -> Message {
    guard case .pull(let pull) = message else {
      return conduct.withLock { conduct in
        guard conduct.pendings == 0 else {
          conduct.pendings -= 1
          return .modelPending(ModelPending(fraction: 0.5))
        }
        var description = description
        if conduct.hasAnother {
          description.name = "another"
          description.model = description.root
        }
        return .modelDescription(description)
      }
    }
    let range = description.files[pull.id.file].range(of: pull.id)
    var data =
      pull.id.isOfDigests
      ? Array(lists[pull.id.file][range])
      : try files[pull.id.file].file.read(offset: range.lowerBound, count: range.count)
    return conduct.withLock { conduct in
      if !pull.id.isOfDigests { conduct.asked[pull.id, default: 0] += 1 }
      if conduct.refuses {
        return .pullFailed(PullFailed(code: .model, message: "another model is served by now"))
      }
      if conduct.damaged > 0, !pull.id.isOfDigests {
        conduct.damaged -= 1
        data[data.count / 2] ^= 0x10
      }
      let receipt = UInt64.random(in: 1 ... .max)
      conduct.given.append(receipt)
      return .chunk(Chunk(id: pull.id, data: data, receipt: receipt))
    }
  }
}

@Suite struct `Pulled model` {
  private func withCoordinator(
    _ body: (_ coordinator: FakeCoordinator, _ cache: String) throws -> Void
  ) throws {
    try withTemporaryDirectory { directory in
      let path = Goldens.checkpoint("gemma3n-random-c").path
      let coordinator = try FakeCoordinator(Checkpoint.open(path), in: directory)
      defer { coordinator.close() }
      try body(coordinator, "\(directory)/cache")
    }
  }

  private func open(
    _ coordinator: FakeCoordinator,
    _ cache: String,
    check: () throws -> Void = {}
  ) throws -> PulledModel {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return try PulledModel(
      from: coordinator.endpoint,
      security: .localOnly,
      cacheDirectory: cache,
      bytesPerSecond: nil,
      logger: logger,
      check: check
    )
  }

  private func program(_ checkpoint: Checkpoint, _ layers: Range<Int>) throws -> Program {
    try checkpoint.config.lower(layers, weights: checkpoint)
  }

  /// Expects that all weights of a program are those of the coordinator's model.
  private func expectSame(_ model: PulledModel, _ own: Checkpoint, _ program: Program) throws {
    for ref in Set(program.ops.flatMap(\.weights)) {
      let (pulled, original) = (try model.bytes(of: ref), try own.bytes(of: ref))
      #expect(unsafe pulled.bytes.elementsEqual(original.bytes), "\(ref.name)")
    }
  }

  @Test func `its layers' weights are those of the coordinator, and no others are pulled`() throws {
    try withCoordinator { coordinator, cache in
      let own = coordinator.checkpoint
      let model = try open(coordinator, cache)
      #expect(try model.fingerprint == own.fingerprint())
      #expect(model.checkpoint.name == "fake")
      let program = try program(own, 2..<4)
      #expect(throws: WorkerError.self) { try expectSame(model, own, program) }
      var fractions: [Double] = []
      try model.fetch(program, check: {}) { fractions.append($0) }
      try expectSame(model, own, program)
      #expect(fractions == fractions.sorted() && fractions.last == 1)
      let pulled = coordinator.conduct.withLock { $0.asked }
      #expect(pulled.values.allSatisfy { $0 == 1 })
      let whole = try own.files().reduce(0) { $0 + $1.file.size }
      #expect(pulled.count * Limits.chunkBytes < whole * 3 / 4)
      // A weight of another layer is refused, not read as zeros.
      let other = try own.weight(.layer(20, .query))
      let error = #expect(throws: WorkerError.self) { try model.bytes(of: other) }
      #expect(error?.message.contains("layers.20") == true, "\(error as Any)")
      // The same again asks for nothing, and neither does the next process.
      try model.fetch(program, check: {}) { _ in }
      try open(coordinator, cache).fetch(program, check: {}) { _ in }
      #expect(coordinator.conduct.withLock { $0.asked } == pulled)
      // More layers ask for the rest only.
      try model.fetch(try self.program(own, 0..<6), check: {}) { _ in }
      #expect(coordinator.conduct.withLock { $0.asked.values.allSatisfy { $0 == 1 } })
    }
  }

  @Test func `a pull that is cut short goes on where it stopped`() throws {
    try withCoordinator { coordinator, cache in
      let own = coordinator.checkpoint
      let program = try program(own, 0..<8)
      let first = try open(coordinator, cache)
      let headers = coordinator.conduct.withLock { $0.asked.count }
      var pieces = 0
      let error = #expect(throws: WorkerError.self) {
        try first.fetch(
          program,
          check: { if pieces >= 5 { throw WorkerError(.stopped, "enough") } },
          progress: { _ in pieces += 1 }
        )
      }
      #expect(error?.code == .stopped)
      let before = coordinator.conduct.withLock { $0.asked.count } - headers
      let second = try open(coordinator, cache)
      coordinator.conduct.withLock { $0.asked = [:] }
      try second.fetch(program, check: {}) { _ in }
      try expectSame(second, own, program)
      let after = coordinator.conduct.withLock { $0.asked.count }
      let whole = try open(coordinator, cache + "-2")
      coordinator.conduct.withLock { $0.asked = [:] }
      try whole.fetch(program, check: {}) { _ in }
      let all = coordinator.conduct.withLock { $0.asked.count }
      #expect(after <= all - 5, "\(before) and \(after) of \(all)")
    }
  }

  @Test func `damaged pieces are pulled again, and in the end given up`() throws {
    try withCoordinator { coordinator, cache in
      let own = coordinator.checkpoint
      let model = try open(coordinator, cache)
      let program = try program(own, 1..<2)
      coordinator.conduct.withLock { $0.damaged = 4 }
      try model.fetch(program, check: {}) { _ in }
      try expectSame(model, own, program)
      coordinator.conduct.withLock { $0.damaged = .max }
      let error = #expect(throws: WorkerError.self) {
        try model.fetch(try self.program(own, 4..<8), check: {}) { _ in }
      }
      #expect(error?.message.contains("damaged") == true, "\(error as Any)")
    }
  }

  @Test func `a coordinator that has another model by now ends the pull in words`() throws {
    try withCoordinator { coordinator, cache in
      let model = try open(coordinator, cache)
      coordinator.conduct.withLock { $0.refuses = true }
      let error = #expect(throws: WorkerError.self) {
        try model.fetch(try program(coordinator.checkpoint, 1..<2), check: {}) { _ in }
      }
      #expect(error?.message.contains("another model is served by now") == true)
    }
  }

  @Test func `a coordinator that reads its model first is waited for`() throws {
    try withCoordinator { coordinator, cache in
      coordinator.conduct.withLock { $0.pendings = 2 }
      let model = try open(coordinator, cache)
      #expect(model.checkpoint.name == "fake")
    }
  }

  @Test func `what is in the cache is not used for a coordinator that serves something else`()
    throws
  {
    try withCoordinator { coordinator, cache in
      let model = try open(coordinator, cache)
      let program = try program(coordinator.checkpoint, 1..<2)
      try model.fetch(program, check: {}) { _ in }
      coordinator.conduct.withLock { $0.hasAnother = true }
      let error = #expect(throws: WorkerError.self) {
        try model.fetch(program, check: {}) { _ in }
      }
      #expect(error?.message.contains("now serves another model, another") == true)
    }
  }

  @Test func `every piece that has come is acknowledged`() throws {
    try withCoordinator { coordinator, cache in
      let model = try open(coordinator, cache)
      try model.fetch(try program(coordinator.checkpoint, 0..<8), check: {}) { _ in }
      let deadline = ContinuousClock.now + .seconds(60)
      while ContinuousClock.now < deadline {
        let conduct = coordinator.conduct.withLock { $0 }
        if conduct.receipts.count == conduct.given.count { break }
        usleep(10_000)
      }
      let conduct = coordinator.conduct.withLock { $0 }
      #expect(conduct.given.count > Limits.pulls)
      #expect(conduct.receipts.sorted() == conduct.given.sorted())
    }
  }

  @Test func `nobody there is an error that can be waited out or stopped`() throws {
    try withTemporaryDirectory { directory in
      var calls = 0
      let error = #expect(throws: WorkerError.self) {
        _ = try PulledModel(
          from: Endpoint("ipc://\(directory)/front"),
          security: .localOnly,
          cacheDirectory: directory,
          bytesPerSecond: nil,
          logger: Logger(label: "test")
        ) {
          calls += 1
          if calls > 3 { throw WorkerError(.stopped, "was asked to stop") }
        }
      }
      #expect(error?.code == .stopped)
    }
  }
}
