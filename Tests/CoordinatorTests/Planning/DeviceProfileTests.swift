// Files of profiles: what is written is read again, and what is wrong is named.

import Coordinator
import Foundation
import TestSupport
import Testing

@Suite struct `Device profiles` {
  private var document: ProfileDocument {
    let kind = layerClass(7, readBytes: 3, weightBytes: 4)
    var first = deviceProfile(
      "d",
      layers: [kind: CostCurve(rows: [1, 8], microseconds: [1.5, 2.25])]
    )
    first.narrowing = CostCurve(rows: [1, 16], microseconds: [0, 7.75])
    return ProfileDocument(
      model: "m",
      machines: [machineProfile(bandwidth: 5e9), machineProfile("there")],
      devices: [
        first,
        deviceProfile("e", machine: "there", layers: [kind: constant(3)]),
      ],
      links: [
        linkProfile(latency: 2), linkProfile("there", "there", latency: 3),
        linkProfile("here", "there", latency: 100),
      ]
    )
  }

  private func refusal(_ text: String) -> String? {
    do throws(CoordinatorError) {
      _ = try ProfileDocument(json: Data(text.utf8), context: "file.json")
      return nil
    } catch {
      #expect(error.code == .profile && error.context == "file.json")
      return error.message
    }
  }

  @Test func `a profile is the same after writing and reading`() throws {
    #expect(try ProfileDocument(json: document.json(), context: "") == document)
  }

  @Test func `what is wrong in a file is refused by name`() throws {
    let good = String(decoding: try document.json(), as: UTF8.self)
    #expect(refusal(good) == nil)
    let faults: [(find: String, replace: String, says: String)] = [
      ("\"version\" : 1", "\"version\" : 2", "version 2, this program reads 1"),
      ("\"version\" : 1", "\"edition\" : 1", "version is missing"),
      ("\"kind\" : \"measured\"", "\"kind\" : \"guessed\"", "guessed"),
      ("\"memory_bytes\" : 1000000000", "\"memory_bytes\" : -1", "memory_bytes of d: -1.0"),
      ("\"memory_bytes\" : 1000000000", "\"memory_bytes\" : \"much\"", ".devices[0].memoryBytes"),
      ("2.25", "-2.25", "-2.25 microseconds"),
      ("7.75", "-7.75", "narrowing of d: -7.75 microseconds"),
      ("1,\n              8", "8,\n              1", "do not ascend"),
      ("\"machine\" : \"there\"", "\"machine\" : \"nowhere\"", "\"nowhere\""),
      ("\"name\" : \"e\"", "\"name\" : \"d\"", "each needs a name of its own"),
      ("\"latency_microseconds\" : 100", "\"latency_microseconds\" : -100", "latency of -100.0"),
      ("\"weight_bytes\" : 4", "\"weight_bytes\" : -4", "outside 0...2^48"),
    ]
    for (find, replace, says) in faults {
      try #require(good.contains(find), "no \(find) in \(good)")
      let message = refusal(good.replacingOccurrences(of: find, with: replace))
      #expect(message?.contains(says) == true, "\(replace): \(message ?? "accepted")")
    }
    for text in ["", "[]", "null", "{", "{\"version\":1}", String(repeating: "[", count: 100_000)] {
      #expect(refusal(text) != nil, "\(text.prefix(20))")
    }
    let large = Data(repeating: 0x20, count: ProfileDocument.maxByteCount + 1)
    #expect(throws: CoordinatorError.self) { try ProfileDocument(json: large, context: "") }
  }

  @Test(.seeded(default: 72)) func `a corrupt file is refused or plans, and never crashes`() throws
  {
    var random = SeededRandom(testSeed(default: 72))
    let good = Array(try document.json())
    let shape = modelShape(Array(repeating: layerClass(7, readBytes: 3, weightBytes: 4), count: 3))
    var accepted = 0
    for _ in 0..<fuzzIterations(default: 1500) {
      let bytes = random.corrupted(good)
      guard let document = try? ProfileDocument(json: Data(bytes), context: ""),
        let costs = try? PipelineCosts(shape: shape, documents: [document]),
        let plan = try? Planner(costs: costs, limits: noRoom).plan(.throughput(streams: 2))
      else { continue }
      accepted += 1
      let result = PipelineSimulation(
        costs: costs,
        stages: plan.chosen.stages,
        scheduler: Scheduler(
          maxRows: 8,
          maxLogitsRows: 8,
          stageCount: plan.chosen.stages.count
        ),
        pace: Pace(decodeDepth: plan.chosen.microBatches, promptRows: 8)
      ).run(streams: 2, promptTokens: 4, decodeTokens: 3)
      #expect(result.decodeTokensPerSecond > 0)
    }
    // Texts and last digits may change without harm.
    #expect(accepted > 0)
  }

  @Test func `a model that a device has no profile of, and a link nobody knows, are refused`() {
    let other = modelShape([layerClass(8)])
    let unknown = #expect(throws: CoordinatorError.self) {
      try PipelineCosts(shape: other, documents: [document])
    }
    #expect(unknown?.message.contains("the profile of device d lacks layer 0") == true)
    var unlinked = document
    unlinked.links.removeLast()
    let shape = modelShape([layerClass(7, readBytes: 3, weightBytes: 4)])
    let unjoined = #expect(throws: CoordinatorError.self) {
      try PipelineCosts(shape: shape, documents: [unlinked])
    }
    #expect(unjoined?.message.contains("--link") == true)
    let twice = #expect(throws: CoordinatorError.self) {
      try PipelineCosts(shape: shape, documents: [document, document])
    }
    #expect(twice?.message.contains("same name") == true)
  }

  @Test func `the profiles that come with the project are projected, each with its derivation`()
    throws
  {
    for name in ["ryzen-7-7840hs", "two-laptops-1gbe"] {
      let file = Goldens.checkout.appending(path: "docs/profiles/\(name).json")
      let document = try ProfileDocument(json: Data(contentsOf: file), context: name)
      let kinds =
        document.devices.map(\.kind) + document.machines.map(\.kind) + document.links.map(\.kind)
      #expect(kinds.allSatisfy { $0 == .projected })
      let derivations =
        document.devices.map(\.derivation) + document.machines.map(\.derivation)
        + document.links.map(\.derivation)
      #expect(derivations.allSatisfy { $0.contains { $0.isNumber } })
    }
  }
}
