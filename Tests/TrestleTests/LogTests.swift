// What the log and the tables do with text of strangers, and with too much of it.

import Compute
import Logging
import Testing
import Wire

@testable import trestle

@Suite struct `Text of strangers` {
  @Test func `what would break a line or steer a terminal is escaped once`() {
    let text = "\u{1B}]0;owned\u{7}a\nb\r\t\u{9B}31m\u{202E}c\u{2028}d\u{200B}\u{85}"
    let shown = text.printable
    #expect(
      shown
        == #"\u{1B}]0;owned\u{07}a\nb\r\t\u{009B}31m\u{202E}c\u{2028}d\u{200B}\u{0085}"#
    )
    #expect(shown.printable == shown)
  }

  @Test(arguments: ["", "cpu-0", #"C:\n "quoted" \u{1B}"#, "ключ 鍵 é e\u{301} 🙂"])
  func `other text stays what it is`(text: String) {
    #expect(text.printable == text)
  }

  @Test func `a name cannot forge a line of the log`() {
    let line = LogLine(
      level: .info,
      label: "trestle.coordinator",
      source: "Coordinator",
      message: "worker joined",
      metadata: [
        "worker": "x\n2026-01-01T00:00:00+0000 error trestle: all is lost", "device": "cpu",
      ]
    )
    #expect(!line.text.contains("\n"))
    #expect(line.text.contains(" info trestle.coordinator: device=cpu worker=x\\n2026-"))
    #expect(line.text.hasSuffix(" [Coordinator] worker joined"))
  }

  @Test func `a table's cells are escaped before they are measured`() {
    let lines = table(["name", "n"], [["a\nb", "1"], ["c", "22"]]).split(separator: "\n")
    #expect(lines == ["name   n", #"a\nb   1"#, "c     22"])
  }
}

@Suite struct `Lines a second` {
  /// A rate that an expectation may change.
  private final class Rate {
    private var rate = LineRate()

    func admits(kind: String, peer: String, at now: ContinuousClock.Instant) -> Bool {
      rate.admits(kind: kind, peer: peer, at: now)
    }

    func takeSuppressed() -> [(kind: String, count: Int)] { rate.takeSuppressed() }
  }

  private let start = ContinuousClock.now

  @Test func `one peer's lines are limited and counted, another's come through`() {
    let rate = Rate()
    var admitted = 0
    for _ in 0..<1000 where rate.admits(kind: "dropped", peer: "a", at: start) { admitted += 1 }
    #expect(admitted == Int(LineRate.peerLimit.burst))
    #expect(rate.admits(kind: "dropped", peer: "b", at: start))
    #expect(rate.admits(kind: "joined", peer: "a", at: start))
    let suppressed = rate.takeSuppressed()
    #expect(suppressed.map(\.kind) == ["dropped"])
    #expect(suppressed.map(\.count) == [1000 - admitted])
    #expect(rate.takeSuppressed().isEmpty)
  }

  @Test func `peers with new names by the thousand share their kind's lines and little memory`() {
    let rate = Rate()
    var admitted = 0
    for peer in 0..<100_000 where rate.admits(kind: "refused", peer: "\(peer)", at: start) {
      admitted += 1
    }
    #expect(admitted == Int(LineRate.kindLimit.burst))
    #expect(rate.admits(kind: "lost", peer: "cpu-0", at: start))
  }

  @Test
  func `the allowance comes back with time, and time that stands still or goes back takes none`() {
    let rate = Rate()
    while rate.admits(kind: "k", peer: "p", at: start) {}
    #expect(!rate.admits(kind: "k", peer: "p", at: start - .seconds(3600)))
    #expect(!rate.admits(kind: "k", peer: "p", at: start))
    #expect(rate.admits(kind: "k", peer: "p", at: start + .seconds(1)))
    var later = 0
    while rate.admits(kind: "k", peer: "p", at: start + .seconds(1_000_000)) { later += 1 }
    #expect(later == Int(LineRate.peerLimit.burst))
  }
}

@Suite struct `Workers that are missing` {
  private func health(_ lost: String...) -> HealthReply {
    HealthReply(
      request: 0,
      isHealthy: lost.isEmpty,
      workers: ["cpu-0", "cpu-1"].map { name in
        WorkerHealth(
          name: name,
          pid: 1,
          state: lost.contains(name) ? .lost : .ready,
          heartbeatAgeMilliseconds: 0,
          detail: "",
          residentBytes: 0
        )
      }
    )
  }

  @Test func `are named once, when they are missing twice in a row`() {
    var absence = Absence()
    let news = [
      health("cpu-1"), health("cpu-0"), health("cpu-0"), health("cpu-0"), health("cpu-0", "cpu-1"),
      health("cpu-0", "cpu-1"), health(),
    ].map { absence.news(of: $0) }
    let phrase = "waiting for workers that are missing: "
    #expect(news == [nil, nil, phrase + "cpu-0", nil, nil, phrase + "cpu-0, cpu-1", nil])
  }
}
