// Documents are read back as they were written, and written as they always were.

import Foundation
import Testing
import Wire

@testable import Client

@Suite struct `Documents of the client` {
  private func json(_ document: some Encodable) throws -> String {
    String(decoding: try DocumentCoding.encode(document), as: UTF8.self)
  }

  private func reread<Document: Codable>(_ document: Document) throws -> Document {
    try DocumentCoding.decode(Document.self, from: DocumentCoding.encode(document))
  }

  @Test func `an answer`() throws {
    var document = GenerationDocument()
    document.add(.accepted(Accepted(request: 1, promptTokens: 4, queuePosition: 2)))
    document.add(.delta(Delta(request: 1, text: "a/", tokens: [1, 2])))
    document.add(.delta(Delta(request: 1, text: "b", tokens: [3])))
    if case .finished(let end) = finished(1, .length) { document.add(.finished(end)) }
    #expect(
      try json(document)
        == #"{"cached_tokens":0,"finish_reason":"length","placement":[{"device":"cpu","emulated":false,"#
        + #""layers":[0,3],"vocabulary":[0,16],"worker":"cpu-0"}],"prompt_tokens":4,"text":"a/b","timing":"#
        + #"{"decode_tokens_per_second":500,"prefill_tokens_per_second":2000,"total_ms":6.5,"#
        + #""ttft_ms":2},"tokens":[1,2,3]}"#
    )
    #expect(try reread(document) == document)
    if case .finished(var end) = finished(1) {
      end.cachedTokens = 3
      end.stop = "\nUser:"
      document.add(.finished(end))
    }
    #expect(try json(document).contains(#""cached_tokens":3,"finish_reason":"stop""#))
    // One token of four was computed, in the same 2 ms.
    #expect(document.timing.prefillTokensPerSecond == 500)
    #expect(try json(document).contains(#""stop":"\nUser:""#))
  }

  @Test func `an answer with thoughts`() throws {
    var document = GenerationDocument()
    document.add(.delta(Delta(request: 1, text: "", tokens: [1], thought: "h")))
    document.add(.delta(Delta(request: 1, text: "a", tokens: [2, 3], thought: "m")))
    if case .finished(var end) = finished(1) {
      end.thoughtTokens = 2
      document.add(.finished(end))
    }
    #expect(try json(document).contains(#""text":"a","thought":"hm","thought_tokens":2"#))
    #expect(try reread(document) == document)
  }

  @Test func `a status`() throws {
    var reply = status(1)
    reply.autoRebalance = AutoRebalance(decision: "stay", ageMilliseconds: 5)
    reply.firstToken = LatencySummary(
      count: 2,
      p50Microseconds: 1500,
      p90Microseconds: 2000,
      p99Microseconds: 2500
    )
    reply.counters = ServiceCounters(
      stoppedRequests: 1,
      lengthRequests: 2,
      cancelledRequests: 3,
      evaluatedRequests: 4,
      abandonedRequests: 5,
      failedRequests: [FailureCount(code: .tooLong, count: 6)],
      promptTokens: 7,
      cachedTokens: 8,
      generatedTokens: 9,
      evaluatedTokens: 10,
      steps: 11,
      epochs: 12,
      lostWorkers: 13,
      rebalances: 14,
      movedBytes: 15
    )
    reply.replacedWorkers = [
      ReplacedWorker(
        name: "npu-0",
        device: "npu",
        reason: "it was removed",
        ageMilliseconds: 7,
        isEmulated: true
      )
    ]
    let document = StatusDocument(reply)
    #expect(
      try json(document)
        == #"{"auto_rebalance":{"decision_age_ms":5,"enabled":true,"last_decision":"stay"},"#
        + #""context_tokens":0,"#
        + #""counters":{"cached_tokens":8,"epochs":12,"evaluated_tokens":10,"generated_tokens":9,"#
        + #""lost_workers":13,"moved_bytes":15,"prompt_tokens":7,"rebalances":14,"requests":"#
        + #"{"abandoned":5,"cancelled":3,"evaluated":4,"failed":[{"code":"too_long","count":6}],"#
        + #""length":2,"stop":1},"steps":11},"#
        + #""epoch":1,"inter_token":{"count":0},"kv_capacity_positions":0,"kv_positions":0,"#
        + #""model":"tiny","protocol_errors":0,"queued":0,"#
        + #""replaced_workers":[{"age_ms":7,"device":"npu","emulated":true,"name":"npu-0","#
        + #""reason":"it was removed"}],"#
        + #""sessions":0,"state":"ready","#
        + #""tokens_per_second":0,"ttft":{"count":2,"p50_ms":1.5,"p90_ms":2,"p99_ms":2.5},"#
        + #""uptime_ms":1000,"workers":[]}"#
    )
    #expect(try reread(document) == document)
  }

  @Test func `health, without numbers that JSON does not have`() throws {
    let worker = WorkerHealth(
      name: "cpu-0",
      pid: 7,
      state: .degraded,
      heartbeatAgeMilliseconds: 10,
      detail: "slow",
      residentBytes: 1,
      selfTest: SelfTestReport(run: 3, maxError: .nan, tolerance: 0.5, failure: "wrong"),
      device: "fake-gpu",
      isEmulated: true
    )
    let document = HealthDocument(HealthReply(request: 1, isHealthy: false, workers: [worker]))
    #expect(
      try json(document)
        == #"{"healthy":false,"workers":[{"available_bytes":0,"detail":"slow","#
        + #""device":"fake-gpu","emulated":true,"heartbeat_age_ms":10,"name":"cpu-0","pid":7,"resident_bytes":1,"self_test":"#
        + #"{"passed":false,"run":3,"tolerance":0.5},"state":"degraded"}]}"#
    )
    #expect(try reread(document) == document)
  }

  @Test func `a move`() throws {
    let moved = Rebalanced(
      request: 1,
      epoch: 2,
      layersMoved: 3,
      kvBytesMoved: 4,
      pauseMicroseconds: 1500
    )
    let document = MoveDocument(moved)
    #expect(
      try json(document) == #"{"epoch":2,"kv_bytes_moved":4,"layers_moved":3,"pause_ms":1.5}"#
    )
    #expect(try reread(document) == document)
  }

  @Test func `every code of a refusal has one of the client`() {
    for code in RequestFailureCode.allCases {
      let error = ClientError(RequestFailed(request: 1, code: code, message: "words"))
      #expect(error.description == "client.\(code): words")
      // As JSON spells what Swift calls so.
      #expect(code.name.replacingOccurrences(of: "_", with: "") == "\(code)".lowercased())
    }
  }
}
