// The timeline: valid JSON with a row for each stage, whole or cut.

import Foundation
import Glibc
import TestSupport
import Testing
import Wire

@testable import Coordinator
import Platform

@Suite struct `Trace` {
  /// An event as a reader of the format sees it.
  private struct Event: Decodable {
    struct Arguments: Decodable {
      var name: String?
      var rows: Int?
      var prefill: Int?
      var decode: Int?
      var sequence: Int?
      var clock: String?
      var reason: String?
    }

    var ph: String
    var name: String
    var pid: Int
    var tid: Int
    var ts: Double
    var dur: Double?
    var args: Arguments?
  }

  private let start = ContinuousClock.now

  private func step(_ sequence: UInt64, prefill: Int, decode: Int) -> StepTrace {
    let slices = (0..<2).map { stage in
      StageSlice(
        stage: stage,
        worker: "cpu-\(stage)",
        layers: (stage * 5)..<(stage * 5 + 5),
        vocabulary: stage == 1 ? 0..<64 : 0..<0,
        began: start + .microseconds(1000 * Int(sequence) + 300 * stage),
        duration: .microseconds(250),
        wait: .microseconds(50),
        isExact: stage == 0
      )
    }
    return StepTrace(
      epoch: 1,
      sequence: sequence,
      prefillRows: prefill,
      decodeRows: decode,
      lastPosition: 7,
      slices: slices
    )
  }

  private func parse(_ text: String) throws -> [Event] {
    try JSONDecoder().decode([Event].self, from: Data(text.utf8))
  }

  /// Writes a timeline of two steps and returns its text.
  private func timeline(_ change: (TraceFile) -> Void = { _ in }) throws -> String {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/trace.json"
      let file = try TraceFile(path: path, now: start)
      file.add(phase: "serving", at: start)
      file.add(step(1, prefill: 5, decode: 0))
      file.add(step(2, prefill: 0, decode: 3))
      change(file)
      file.close(at: start + .milliseconds(9))
      #expect(file.failure == nil)
      return try String(contentsOfFile: path, encoding: .utf8)
    }
  }

  @Test func `each stage has a row, and on it a slice for each micro-batch`() throws {
    let events = try parse(timeline())
    let slices = events.filter { $0.ph == "X" }
    #expect(slices.map(\.tid) == [1, 2, 1, 2])
    #expect(slices.map(\.ts) == [1000, 1300, 2000, 2300])
    #expect(slices.allSatisfy { $0.dur == 250 && $0.pid == 1 })
    #expect(slices.map(\.name) == ["prefill 5", "prefill 5", "decode 3", "decode 3"])
    #expect(slices.map { $0.args?.sequence } == [1, 1, 2, 2])
    #expect(slices.map { $0.args?.rows } == [5, 5, 3, 3])
    #expect(slices.map { $0.args?.clock } == ["exact", "estimated", "exact", "estimated"])
    // Each row is named once.
    let names = events.filter { $0.ph == "M" && $0.name == "thread_name" }
    #expect(names.map { $0.args?.name } == ["coordinator", "stage 0: cpu-0", "stage 1: cpu-1"])
  }

  @Test func `the coordinator's phases and what it notes stand on a row of their own`() throws {
    let events = try parse(
      timeline { file in
        file.add(phase: "serving", at: start + .milliseconds(3))
        let note = CoordinatorNote(
          isWarning: true,
          message: "worker lost",
          metadata: ["worker": "cpu-1", "reason": "a \"quote\", a \\ and\na line\u{1}\u{7F}é"]
        )
        file.add(note, at: start + .milliseconds(4))
        file.add(phase: "gathering", at: start + .milliseconds(5))
      }
    )
    let own = events.filter { $0.tid == 0 && $0.ph != "M" }
    #expect(own.map(\.ph) == ["B", "i", "E", "B", "E"])
    #expect(own.map(\.name) == ["serving", "worker lost", "serving", "gathering", "gathering"])
    #expect(own.map(\.ts) == [0, 4000, 5000, 5000, 9000])
    #expect(own[1].args?.reason == "a \"quote\", a \\ and\na line\u{1}\u{7F}é")
  }

  @Test func `cut anywhere after a line, it is an array that only lacks its end`() throws {
    let text = try timeline()
    let lines = text.split(separator: "\n")
    #expect(lines.first == "[" && lines.last == "]")
    for count in 2..<(lines.count - 1) {
      var cut = lines.prefix(count).joined(separator: "\n")
      if cut.last == "," { cut.removeLast() }
      #expect(try parse(cut + "]").count == count - 1)
    }
  }

  @Test func `an empty timeline is an empty array`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/trace.json"
      try TraceFile(path: path).close()
      #expect(try parse(String(contentsOfFile: path, encoding: .utf8)).isEmpty)
    }
  }

  @Test func `a file is emptied when there is something to write, not before`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/trace.json"
      let old = String(repeating: "old ", count: 1000)
      try old.write(toFile: path, atomically: false, encoding: .utf8)
      _ = try TraceFile(path: path)
      #expect(try String(contentsOfFile: path, encoding: .utf8) == old)
      let file = try TraceFile(path: path)
      file.add(step(1, prefill: 1, decode: 0))
      file.close()
      #expect(try parse(String(contentsOfFile: path, encoding: .utf8)).count == 6)
    }
  }

  @Test func `it is written while things happen, a second late at most`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/trace.json"
      let file = try TraceFile(path: path, now: start)
      file.add(step(1, prefill: 5, decode: 0))
      file.add(phase: "serving", at: start + .milliseconds(1001))
      // By another thread: soon.
      var text = ""
      let deadline = ContinuousClock.now + .seconds(5)
      while text.isEmpty, ContinuousClock.now < deadline {
        text = try String(contentsOfFile: path, encoding: .utf8)
      }
      #expect(text.contains("prefill 5") && !text.contains("]"))
      file.close()
    }
  }

  @Test(.enabled(if: geteuid() == 0, "only root can make another user's link"))
  func `another user's link is not written through`() throws {
    try withTemporaryDirectory { directory in
      let (diary, link) = ("\(directory)/diary", "\(directory)/trace.json")
      try "dear diary".write(toFile: diary, atomically: false, encoding: .utf8)
      try #require(unsafe symlink(diary, link) == 0 && lchown(link, 12_345, 12_345) == 0)
      let error = #expect(throws: CoordinatorError.self) { try TraceFile(path: link) }
      #expect(error?.description.contains("symbolic link of user 12345") == true)
      #expect(try String(contentsOfFile: diary, encoding: .utf8) == "dear diary")
      // One of our own is what we have asked for.
      try #require(unsafe lchown(link, 0, 0) == 0)
      try TraceFile(path: link).close()
      #expect(try String(contentsOfFile: diary, encoding: .utf8).hasPrefix("["))
    }
  }

  @Test func `a file that cannot be made or filled is refused by name`() throws {
    let error = #expect(throws: CoordinatorError.self) {
      try TraceFile(path: "/nowhere/trace.json")
    }
    #expect(error?.description.contains("/nowhere/trace.json") == true)
    let full = try TraceFile(path: "/dev/full")
    full.add(step(1, prefill: 1, decode: 0))
    full.close()
    #expect(full.failure?.context == "/dev/full")
  }

  @Test func `a pipe that nobody reads is refused at once`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/pipe"
      try #require(unsafe mkfifo(path, 0o600) == 0)
      let error = #expect(throws: CoordinatorError.self) { try TraceFile(path: path) }
      #expect(error?.description.contains("nobody reads this pipe") == true)
    }
  }

  @Test func `a reader that sleeps costs events, not time, and is told of once`() throws {
    try withTemporaryDirectory { directory in
      let path = "\(directory)/pipe"
      try #require(unsafe mkfifo(path, 0o600) == 0)
      let reader = unsafe open(path, O_RDONLY | O_NONBLOCK)
      defer { close(reader) }
      let told = Told()
      let file = try TraceFile(path: path, now: start) { told.add($0) }
      let began = ContinuousClock.now
      // 20 MiB: more than a pipe and the queue hold.
      for sequence in 1...60_000 { file.add(step(UInt64(sequence), prefill: 1, decode: 0)) }
      let took = ContinuousClock.now - began
      file.close()
      // Not for as long as it takes to wait for the reader each time.
      #expect(took < .seconds(20), "\(took)")
      #expect(told.errors.count == 1)
      #expect(file.failure?.context == path)
    }
  }

  @Test func `a disk that is full is told of when it is, and once`() throws {
    let told = Told()
    let file = try TraceFile(path: "/dev/full") { told.add($0) }
    file.add(step(1, prefill: 1, decode: 0))
    file.add(phase: "serving", at: .now + .seconds(2))
    let deadline = ContinuousClock.now + .seconds(5)
    while told.errors.isEmpty, ContinuousClock.now < deadline { usleep(1000) }
    #expect(told.errors.map(\.context) == ["/dev/full"])
    file.add(step(2, prefill: 1, decode: 0))
    file.close()
    #expect(told.errors.count == 1)
  }

  private final class Told: Sendable {
    private let list = Lock<[CoordinatorError]>([])
    var errors: [CoordinatorError] { list.withLock { $0 } }
    func add(_ error: CoordinatorError) { list.withLock { $0.append(error) } }
  }
}
