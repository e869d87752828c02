// Frames of `trestle top`, made of statuses without any pipeline or terminal.

import Content
import Testing
import Wire

@testable import trestle

@Suite struct `Top frame` {
  private static let worker = WorkerStatus(
    name: "cpu-0",
    pid: 4711,
    device: "cpu",
    isEmulated: false,
    firstLayer: 0,
    endLayer: 10,
    firstVocabularyRow: 0,
    endVocabularyRow: 0,
    state: .ready,
    residentBytes: 340 << 20,
    kvBytes: 12 << 20,
    busy: 0.5,
    busyMicroseconds: 1,
    stepMilliseconds: 3.14159,
    heartbeatAgeMilliseconds: 20,
    threads: 1,
    loadFraction: 1,
    detail: "",
    bubble: 0.25,
    queued: 1.75,
    availableBytes: 1 << 30,
    temperature: Temperature(sensor: "k10temp Tctl", celsius: 61.4)
  )

  private static func status(_ workers: [WorkerStatus] = [worker]) -> StatusReply {
    StatusReply(
      request: 1,
      model: "demo-model",
      epoch: 3,
      fingerprint: Digest(of: [1]),
      state: .ready,
      sessions: 4,
      queued: 2,
      tokensPerSecond: 123.45,
      uptimeMilliseconds: 3_723_900,
      protocolErrors: 0,
      workers: workers,
      firstToken: LatencySummary(
        count: 12,
        p50Microseconds: 12_340,
        p90Microseconds: 20_000,
        p99Microseconds: 45_600
      ),
      interToken: LatencySummary(),
      kvPositions: 512,
      kvCapacityPositions: 2048
    )
  }

  private func lines(
    _ status: StatusReply = status(),
    width: Int = 80,
    hasColours: Bool = false
  ) -> [String] {
    TopFrame(status, width: width, hasColours: hasColours).lines
  }

  @Test func `at 80 columns everything is there, word for word`() {
    #expect(
      lines() == [
        "demo-model  ready  epoch 3  up 1:02:03  123.5 tokens/s",
        "4 sessions  2 queued  KV 512 of 2048 positions (25 %)",
        "first token     p50 12.3 ms  p90 20.0 ms  p99 45.6 ms  of 12",
        "between tokens  none in the last minute",
        "",
        "cpu-0      cpu      0..<10    ready        ██████░░░░░░  50 % busy  25 % bubble",
        "           step 3.14 ms  queue 1.8  KV 12.0 MiB  memory 340 MiB  61 °C",
      ]
    )
  }

  @Test(arguments: [0, 1, 39, 40, 57, 79, 80, 81, 132, 4000])
  func `no line is wider than the terminal`(width: Int) {
    var busy = Self.worker
    busy.name = String(repeating: "long", count: 40)
    busy.detail = String(repeating: "reason ", count: 40)
    busy.isEmulated = true
    for line in lines(Self.status([busy, Self.worker]), width: width) {
      #expect(line.count <= max(width, TopFrame.leastWidth), "\(line)")
    }
  }

  @Test func `an emulated device says so, and a missing temperature is not shown`() {
    var worker = Self.worker
    worker.device = "npu"
    worker.isEmulated = true
    worker.temperature = nil
    let text = lines(Self.status([worker])).joined(separator: "\n")
    #expect(text.contains("npu (emulated)"))
    #expect(!text.contains("°C"))
  }

  @Test func `a worker that is not well says why`() {
    var worker = Self.worker
    worker.state = .degraded
    worker.detail = "self-test failed: cpu is off by 0.5"
    let text = lines(Self.status([worker]))
    #expect(text.contains { $0.contains(" degraded ") })
    #expect(text.last == "           self-test failed: cpu is off by 0.5")
    worker.state = .loading
    worker.loadFraction = 0.4
    #expect(lines(Self.status([worker])).contains { $0.contains(" loading 40 % ") })
  }

  @Test func `a worker that others have replaced is told of below the others`() {
    var status = Self.status()
    status.replacedWorkers = [
      ReplacedWorker(
        name: "npu-0",
        device: "npu",
        reason: "(pid 7) ended",
        ageMilliseconds: 61_900,
        isEmulated: true
      )
    ]
    let text =
      "npu-0 (npu, emulated) was lost 61 s ago, and its layers were given to others: (pid 7) ended"
    #expect(lines(status, width: 100).last == text)
    // Nothing of it is cut off.
    #expect(
      lines(status, width: 40).suffix(3) == [
        "npu-0 (npu, emulated) was lost 61 s ago,", "and its layers were given to others:",
        "(pid 7) ended",
      ]
    )
  }

  @Test func `colours change nothing but the colours`() {
    let plain = lines()
    let coloured = lines(hasColours: true)
    #expect(coloured != plain)
    #expect(coloured[0].contains("\u{1B}[32mready\u{1B}[0m"))
    let stripped = coloured.map { $0.replacing(#/\u{1B}\[\d*m/#, with: "") }
    #expect(stripped == plain)
    #expect(!plain.joined().contains("\u{1B}"))
  }

  @Test func `texts of other processes cannot steer the terminal`() {
    var worker = Self.worker
    worker.name = "\u{1B}[2J"
    worker.device = "a\nb\r\u{9B}31m"
    worker.detail = "x\u{202E}y\u{7}\u{2028}z"
    var status = Self.status([worker])
    status.model = "\u{1B}]0;title\u{7}"
    for line in lines(status) {
      #expect(!line.unicodeScalars.contains { $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) })
      #expect(!line.unicodeScalars.contains { $0 == "\u{202E}" || $0 == "\u{2028}" })
    }
    #expect(lines(status)[0].hasPrefix(#"\u{1B}]0;title\u{07}"#))
  }

  @Test func `absurd shares are drawn as the nearest sensible one`() {
    var worker = Self.worker
    worker.busy = 1e300
    worker.bubble = -5
    let line = lines(Self.status([worker]))[5]
    #expect(line.contains("100 % busy") && line.contains("0 % bubble"))
    #expect(!line.contains("░"))
  }

  @Test func `a frame is drawn over the one before and leaves nothing of it`() {
    #expect(Terminal.redraw(["a", "b"]) == "\u{1B}[Ha\u{1B}[K\r\nb\u{1B}[K\r\n\u{1B}[J")
  }
}
