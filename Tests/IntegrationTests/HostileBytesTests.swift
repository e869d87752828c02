// Hostile bytes at every socket: none ends a process, exhausts its memory, or changes the next
// answer.

import Foundation
import TestSupport
import Testing
import Wire

extension Integration {
  @Suite struct `Hostile bytes` {
    private static let seed: UInt64 = 53

    /// Returns every socket of a pipeline: the public one and each worker's own.
    private func sockets(_ cluster: Cluster) throws -> [String] {
      let workers = "\(cluster.directory)/front.workers"
      let own = try FileManager.default.contentsOfDirectory(atPath: workers)
      return ["\(cluster.directory)/front"] + own.sorted().map { "\(workers)/\($0)" }
    }

    /// Sends bytes that get further and further: noise, a greeting followed by noise, frames with
    /// wrong sizes, whole messages of noise, and whole messages that look like an envelope.
    private func attack(_ path: String, _ random: inout SeededRandom) throws {
      let noise = random.bytes(Int.random(in: 1...8192, using: &random))
      let socket = try RawSocket(path: path)
      switch Int.random(in: 0..<6, using: &random) {
      case 0: socket.send(noise)
      case 1: socket.send(Array(ZMTP.greeting.prefix(Int.random(in: 1...64, using: &random))))
      case 2: socket.send(ZMTP.greeting + noise)
      case 3:
        let size = UInt64.random(in: (1 << 20)...UInt64.max, using: &random)
        socket.open()
        socket.send(ZMTP.frame(noise, size: size))
      case 4:
        let frames = (0..<20).flatMap { _ in
          ZMTP.frame(envelope(&random), more: true) + ZMTP.frame(Array(noise.prefix(64)))
            + ZMTP.frame(envelope(&random))
        }
        socket.open()
        socket.send(frames)
      default:
        let frames = (0..<200).flatMap { _ in
          ZMTP.frame(
            random.bytes(Int.random(in: 0...64, using: &random)),
            more: Bool.random(using: &random)
          )
        }
        socket.open()
        socket.send(frames)
      }
      if Bool.random(using: &random) { _ = socket.receive() }
    }

    /// Returns a message of the right version whose body has a known number and fields of
    /// well-formed protobuf with random values.
    private func envelope(_ random: inout SeededRandom) -> [UInt8] {
      let bodies = Array(10...17) + Array(20...29) + [30, 31] + Array(40...46)
      let number = bodies.randomElement(using: &random) ?? 30
      let body = fields(depth: 0, &random)
      return [0x08] + varint(UInt64(protocolVersion)) + varint(UInt64(number * 8 + 2))
        + varint(UInt64(body.count)) + body
    }

    private func fields(depth: Int, _ random: inout SeededRandom) -> [UInt8] {
      (1...12).flatMap { number -> [UInt8] in
        guard Int.random(in: 0..<3, using: &random) > 0 else { return [] }
        if Bool.random(using: &random) {
          // Values of every magnitude: small ones pass the checks, large ones fail them.
          let value = UInt64.random(in: .min ... .max, using: &random)
          return varint(UInt64(number * 8))
            + varint(value >> UInt64.random(in: 0..<64, using: &random))
        }
        let count = Int.random(in: 0..<16, using: &random)
        let content = depth < 2 ? fields(depth: depth + 1, &random) : random.bytes(count)
        return varint(UInt64(number * 8 + 2)) + varint(UInt64(content.count)) + content
      }
    }

    private func varint(_ value: UInt64) -> [UInt8] {
      value < 128
        ? [UInt8(value)] : [UInt8(truncatingIfNeeded: value) | 0x80] + varint(value >> 7)
    }

    @Test(.seeded(default: seed))
    func `no bytes at any socket change the next answer or take memory`() async throws {
      var random = SeededRandom(testSeed(default: Self.seed))
      let item = try Goldens.load("demo-model").cases[0]
      try await withCluster(Cluster.threeWorkers + ["--log-level", "critical"]) { cluster in
        let options = item.runOptions(tokens: 40)
        #expect(try await cluster.run(item.text ?? "", options).tokens == item.greedy)
        let pids = [Int(cluster.process.pid)] + (try await cluster.workerPids())
        let before = pids.map(ProcessTable.residentBytes)
        let targets = try sockets(cluster)
        try #require(targets.count == 4 && before.allSatisfy { $0 > 0 })
        for _ in 0..<fuzzIterations(default: 40) {
          for target in targets { try attack(target, &random) }
        }
        #expect(try await cluster.run(item.text ?? "", options).tokens == item.greedy)
        #expect([Int(cluster.process.pid)] + (try await cluster.workerPids()) == pids)
        let health = try await cluster.health()
        #expect(health.healthy)
        // The messages reached the parsers and were counted there.
        for worker in health.workers { #expect(worker.detail.contains("malformed"), "\(worker)") }
        for (pid, bytes) in zip(pids, before) {
          let growth = ProcessTable.residentBytes(pid) - bytes
          #expect(growth < 64 << 20, "process \(pid) has grown by \(growth) bytes")
        }
      }
    }

    @Test func `connections that say nothing keep nobody from being served`() async throws {
      let item = try Goldens.load("demo-model").cases[0]
      try await withCluster { cluster in
        let silent = try sockets(cluster).flatMap { path in
          try (0..<32).map { _ in try RawSocket(path: path) }
        }
        let got = try await cluster.run(item.text ?? "", item.runOptions(tokens: 20))
        #expect(got.tokens == Array(item.greedy.prefix(20)))
        withExtendedLifetime(silent) {}
      }
    }
  }
}
